"""The laws of the store, and the checks that prove them."""
