"""Are the processes well?"""

from __future__ import annotations

from grafana.src import common
from grafana.src.common import RED, Column, colored
from grafana.src.frame import Panels, Row
from grafana.src.telemetry import age, select, total


def _by_role(expr: str) -> str:
    """A process metric with the role of its endpoint."""
    return f"sum by (role, instance) ({expr} * on (job, instance) group_left (role) {select('streamer_build_info')})"


def _versions() -> str:
    build, definitions = select("streamer_build_info"), select("streamer_definitions_info")
    with_revision = f"{build} * on (job, instance, role) group_left (revision) {definitions}"
    # Supervisor and publisher need no definitions: they are listed without a revision.
    return f"sum by (role, instance, version, python, revision) ({with_revision} or on (job, instance) {build})"


def _resources() -> Panels:
    """What they use."""
    return [
        common.timeseries(
            601,
            "Resident memory",
            "By process. State is held in memory: it grows with active customers, and shrinks when the watermark passes them.",
            common.queries((_by_role(select("process_resident_memory_bytes")), "{{role}} {{instance}}")),
            unit="bytes",
            width=6,
        ),
        common.timeseries(
            602,
            "CPU",
            "Cores used by process. One process can use one core: at 1 add workers.",
            common.queries(
                (_by_role(f"rate({select('process_cpu_seconds_total')}[$__rate_interval])"), "{{role}} {{instance}}"),
            ),
            unit="short",
            decimals=2,
            width=6,
        ),
        common.timeseries(
            603,
            "Event loop lag and heartbeat age",
            "How long ago each loop last turned, and how late the latest was. A blocked loop sends no heartbeats: the group expels it.",
            common.queries(
                (total("streamer_event_loop_lag_seconds", how="max"), "greatest lag"),
                (age("streamer_heartbeat_timestamp_seconds", "role"), "{{role}}"),
            ),
            unit="s",
            width=6,
        ),
        common.timeseries(
            604,
            "Processes up and restarts",
            "Roles running under the supervisor, and how often each was started again.",
            common.queries(
                (total("streamer_child_up", "role"), "{{role}} up"),
                (total("streamer_child_restarts_total", "role"), "{{role}} restarts"),
            ),
            unit="short",
            width=6,
        ),
    ]


def _deployed() -> Panels:
    """What they are."""
    return [
        common.table(
            605,
            "What runs",
            "Version of each process, and the revision of the definitions it works by. Two revisions for long: one did not reload.",
            common.queries(
                (_versions(), ""),
                instant=True,
            ),
            labels={
                "role": "Role",
                "instance": "Instance",
                "version": "Version",
                "python": "Python",
                "revision": "Definitions revision",
            },
            columns=[Column("A", "Processes", "short")],
            width=12,
            height=6,
        ),
        common.timeseries(
            606,
            "Definitions reloaded",
            "Attempts to load definitions since the process started, and the age of those in force. Rejected: the last good ones stay.",
            common.queries(
                (total("streamer_config_reloads_total", "role, outcome"), "{{role}} {{outcome}}"),
                (age("streamer_config_last_reload_success_timestamp_seconds", "role"), "{{role}} age"),
                (total("streamer_definitions_reload_failed", "role"), "{{role}} file refused"),
            ),
            unit="short",
            overrides={"/ age$/": {"unit": "s", "custom.axisPlacement": "right"}, "/ (rejected|file refused)$/": colored(RED)},
            width=12,
            height=6,
        ),
    ]


def row() -> Row:
    """Row 600."""
    return Row(600, "Are the processes well?", [*_resources(), *_deployed()])
