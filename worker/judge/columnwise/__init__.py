"""The quick way of judging: slices of a batch as columns. See `quick`."""
