"""Exactly-once customer-journey metrics and alerts on Kafka.

The pure packages (`touchpoints`, `journeys`, `rollup`, `rules`) decide what events mean; `engine` connects them to Kafka
through Faust; `alerts` delivers to Redis; `metrics` names every number. See README.md for the flow.
"""

__version__ = "0.1.0"
