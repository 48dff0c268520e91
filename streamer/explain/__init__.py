"""Why an alert fired, and why none did: the timeline of a customer or a series, and every condition with its distance. Pure."""
