"""Dashboards as Python; `python -m grafana.src.build` writes the JSON that Grafana loads."""
