"""Who may ask for what: keys, log-ins, scopes, limits, and where requests may come from."""
