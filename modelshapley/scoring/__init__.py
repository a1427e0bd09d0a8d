"""Scoring jobs: probe batches through methods, summed; they can stop, resume and merge."""
