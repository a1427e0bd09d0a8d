"""The kinds of task that a task file can describe, one module each."""
