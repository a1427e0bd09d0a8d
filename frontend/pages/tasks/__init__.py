"""The tasks page: the list of tasks, an editor, a preview."""
