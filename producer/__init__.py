"""Files in, batches out: reads record files and sends them to the queue."""
