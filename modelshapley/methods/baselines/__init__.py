"""Baselines that use no gradient of the loss."""
