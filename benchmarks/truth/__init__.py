"""Sampled Shapley values that take hours to compute, stored with the scripts that sample them."""
