"""One script for each claim of speed; each prints one JSON object as its last line."""
