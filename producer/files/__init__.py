"""Files of any format as raw records, in constant memory."""
