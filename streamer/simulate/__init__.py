"""Synthetic customers with known incidents, for demonstrations and tests."""
