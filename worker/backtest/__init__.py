"""What a contract or a mapping would change: letters and rows judged by it as it would be."""
