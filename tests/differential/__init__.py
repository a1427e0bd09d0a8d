"""Every family against plain loops written apart from the product."""
