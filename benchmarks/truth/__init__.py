"""Sampled Shapley values that take hours, kept with the script that made them."""
