"""Shapley values of model units from one backward pass. Import what you need from the modules."""

__version__ = "0.1.0"
