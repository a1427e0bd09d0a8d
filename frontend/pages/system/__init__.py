"""The system page: services, workers, queues, failures."""
