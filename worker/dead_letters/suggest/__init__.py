"""What would fix the letters of a group: candidates, tried by the contract before they are shown."""
