"""What a payload says: its fields, the contract's fields that they are read for, and values that are the same."""
