"""`worker page`: what the store holds, in a browser; it reads through the store's views and acts by its commands."""
