"""What events mean: the pure fold of one customer's touchpoints, and its processor."""
