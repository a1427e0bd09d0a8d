"""The runs page: the list of runs, and the page of a deleted one."""
