"""The chaos benchmark: what a working server loses when its processes are killed at random."""
