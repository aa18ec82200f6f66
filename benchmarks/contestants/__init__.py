"""The ways in which the same file gets into the same table: one module each, and what they share."""
