"""Methods that need one backward pass through the intact model."""
