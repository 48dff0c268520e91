"""What rules would have done over a history: their firings, judged by labels and compared with another version's. Pure."""
