"""`python -m modelshapley.cli` is the command `modelshapley`."""

from modelshapley.cli import main

main()
