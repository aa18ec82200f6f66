"""The command `store`."""
