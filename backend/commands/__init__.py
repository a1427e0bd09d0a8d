"""Commands that work on the records and services of an installation, started by `modelshapley`."""
