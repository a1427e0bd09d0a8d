"""Tasks defined in code: their data come with a package or with the project."""
