"""Sources compared with each other."""
