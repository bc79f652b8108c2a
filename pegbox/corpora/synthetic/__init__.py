"""Corpora that Pegbox makes itself, one file each: labels are perfect, nothing is downloaded, a seed says it all."""
