"""Work queues, events and result caches in Redis: web-free, used by workers too."""
