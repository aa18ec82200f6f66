"""What lasts: the database, its tables and its laws. Knows no queue."""
