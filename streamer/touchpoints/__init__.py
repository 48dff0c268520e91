"""What arrives: the canonical touchpoint event, its decoding and its checks."""
