"""The Redis of one home, which is started where none is configured."""
