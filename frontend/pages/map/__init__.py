"""The map page: heatmaps of importance, and a tray that measures deactivations."""
