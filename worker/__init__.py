"""One batch in, every record to its outcome; the loader; and what keeps them running."""
