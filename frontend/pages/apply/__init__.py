"""The page Apply of a run: a smaller model, predicted, measured and saved."""
