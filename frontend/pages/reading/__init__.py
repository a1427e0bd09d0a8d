"""The page "How to read this map"."""
