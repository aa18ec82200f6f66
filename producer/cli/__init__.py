"""The command `producer`."""
