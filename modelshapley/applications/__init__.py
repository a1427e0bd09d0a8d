"""What an importance map is good for: smaller models, and which importance to make them by."""
