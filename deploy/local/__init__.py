"""Real servers on loopback ports without a container engine: Apache Kafka, Redis and Prometheus.

`python -m deploy.local up|down|status` for people, `deploy.local.stack.Stack` for programs, `tests/servers.py` for tests.
"""
