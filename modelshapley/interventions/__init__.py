"""Interventions on a live model: gates on activations, scaled weights, replayed passes, and their verification."""
