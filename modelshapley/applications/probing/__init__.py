"""What chosen units hold: classes read from their activations, and what scaling them up does, beside random units."""
