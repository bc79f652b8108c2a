"""Bench: whole protocols as data (suites), and what condenses their results."""
