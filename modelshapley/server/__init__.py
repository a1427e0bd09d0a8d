"""Processes that `modelshapley up` starts: Redis, web server and workers."""
