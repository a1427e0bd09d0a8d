"""`python -m modelshapley.cli` is the command `modelshapley`."""

from modelshapley.cli.main import main

main()
