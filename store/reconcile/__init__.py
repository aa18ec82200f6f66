"""Reconciliation: the comparison of sources."""
