"""What maps are used for: requests, records of derived models, reports on units."""
