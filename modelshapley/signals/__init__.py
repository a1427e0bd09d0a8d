"""Signals: what one backward pass measures for every unit and example."""
