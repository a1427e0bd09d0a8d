"""Tasks: what is asked of a model and what counts as right. `catalog` finds tasks by name; one kind of task a file."""

from modelshapley.tasks.catalog import TaskCatalog
from modelshapley.tasks.infos import TASKS

__all__ = ["TASKS", "TaskCatalog"]
