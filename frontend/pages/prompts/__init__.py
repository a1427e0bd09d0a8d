"""The page to try a prompt: two columns, their tokens side by side, the map of the answer."""
