"""RQ workers: load, score, store."""
