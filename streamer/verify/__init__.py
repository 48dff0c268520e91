"""A second opinion: the counters recounted in SQL from the raw log, compared with what the processors made of it."""
