"""What happens to dead letters: their states, their groups, and the actions over many of them."""
