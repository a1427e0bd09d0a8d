"""Published scores of whole layers and experts, by forward passes alone: baselines for what to leave out."""
