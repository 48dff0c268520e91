"""The parts of grafana-foundation-sdk that the dashboards use.

The classic model (schema 42) loads on Grafana 10 to 13 through file provisioning; the SDK would rather sell the v2 model and
says so on import, which is a decision already taken and not news.
"""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, table, text, timeseries
    from grafana_foundation_sdk.cog import builder, encoder, plugins
    from grafana_foundation_sdk.models import common as common_models
    from grafana_foundation_sdk.models import dashboard as models
    from grafana_foundation_sdk.models import prometheus as prometheus_models
    from grafana_foundation_sdk.models import text as text_models

__all__ = [
    "bargauge",
    "builder",
    "common",
    "common_models",
    "dashboard",
    "encoder",
    "models",
    "plugins",
    "prometheus",
    "prometheus_models",
    "stat",
    "table",
    "text",
    "text_models",
    "timeseries",
]
