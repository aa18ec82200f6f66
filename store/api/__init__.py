"""The store for programs, and what the commands share with them; every connection only reads."""
