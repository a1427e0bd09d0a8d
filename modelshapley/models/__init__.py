"""Models: from a name to a verified model on a device, and batches that fit its memory."""
