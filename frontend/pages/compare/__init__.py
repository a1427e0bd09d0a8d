"""The compare page: two maps and their difference."""
