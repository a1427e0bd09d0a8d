"""The REST API: validate, record, enqueue, respond. Imports no torch."""
