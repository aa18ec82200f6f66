"""The screens, a file a noun."""
