"""Evaluation of a model with some units off: accuracy, trials, faithfulness checks and verdicts."""
