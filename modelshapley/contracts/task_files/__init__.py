"""Task files, what a server tells about tasks, and examples of them."""
