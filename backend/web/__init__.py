"""The FastAPI application: validation, routes, errors and access control."""
