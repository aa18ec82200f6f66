"""Tables whose cells have types: their rows travel as JSON, as those of `send` do."""
