"""Models, hidden states and tasks that a worker keeps in memory between jobs."""
