"""All that is known of one dead letter, as facts: a command and a page show the same."""
