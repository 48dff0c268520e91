"""Who is told: the alert record, its delivery to Redis and the consumer side."""
