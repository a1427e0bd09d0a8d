"""The REST API: check, record, enqueue, answer. Imports no torch."""
