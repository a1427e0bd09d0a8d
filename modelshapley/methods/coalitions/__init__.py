"""Methods that evaluate the model under coalitions of units."""
