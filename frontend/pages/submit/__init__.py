"""The submit page: the form for a run, and its estimated cost."""
