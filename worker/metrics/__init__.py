"""Metrics of store and queue for Prometheus, read at each scrape: nothing is counted in a process that may die."""
