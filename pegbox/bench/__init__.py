"""Bench: what many runs say together: reports, comparisons, statistics, and numbers that others published."""
