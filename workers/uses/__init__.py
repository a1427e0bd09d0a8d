"""What maps are used for: smaller, fine-tuned and quantised models, and reports on units."""
