"""Uploaded data for tasks: which files they may consist of, and their inspection within limits. Torch-free."""
