"""Architectures: where a Hugging Face model keeps its units."""
