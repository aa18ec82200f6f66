"""From a record to its file and back."""
