"""Trials on the map page: the figures of one, its details, past ones, and the curve of all."""
