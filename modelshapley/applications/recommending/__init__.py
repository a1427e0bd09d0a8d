"""Recommend which units to remove for a wanted size or speed: candidates, measured and compared."""
