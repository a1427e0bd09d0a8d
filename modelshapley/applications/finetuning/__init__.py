"""Targeted fine-tuning: only chosen units train, as sub-matrices of the weights."""
