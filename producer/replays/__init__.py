"""Dead letters back to the queue, for the command and for programs: proved, permitted, sent."""
