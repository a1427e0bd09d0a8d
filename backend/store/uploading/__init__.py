"""Uploads in progress, and what became of them: model folders and data for tasks."""
