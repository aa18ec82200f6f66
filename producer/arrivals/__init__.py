"""Where files come from: folders, and addresses on the web."""
