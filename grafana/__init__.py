"""Grafana dashboards: source in `src`, generated JSON in `dashboards`, Grafana's set-up in `provisioning`."""
