"""Repairs of a smaller model, kept only if they lower the loss of probe examples that they were not fitted on."""
