"""Benchmarks: one script for each claim of speed or fidelity; each prints one JSON object as its last line."""
