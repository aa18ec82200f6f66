"""Records from staging to the target."""
