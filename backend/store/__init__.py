"""Database, files and uploads: web-free, used by workers too."""
