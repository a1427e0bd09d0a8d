"""The trust page: the evidence on how far a map can be trusted."""
