"""RQ workers: load models, score, measure, store results."""
