"""Letters as files that people and programs correct, and back: see `export` and `fixes`."""
