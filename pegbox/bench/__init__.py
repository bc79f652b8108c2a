"""Many runs as one command: matrices and suites, where they run, and what came out."""
