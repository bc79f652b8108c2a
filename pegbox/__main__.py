"""`python -m pegbox` is the command line."""

from pegbox.cli import main

main()
