"""What survives a crash? Checkpoints, restores, rebalances."""

from __future__ import annotations

from grafana.src import common
from grafana.src.common import GREEN, RED, YELLOW, colored
from grafana.src.frame import Panels, Row
from grafana.src.telemetry import age, quantile, rate, select, total


def _checkpoints() -> Panels:
    """What was committed."""
    return [
        common.timeseries(
            401,
            "Checkpoints per second by outcome",
            "One Kafka transaction with outputs, journal, state and source offset. Fenced: another owner took the partition.",
            common.queries((rate("streamer_checkpoints_total", "role, outcome"), "{{role}} {{outcome}}")),
            unit="ops",
            overrides={"/ committed$/": colored(GREEN), "/ failed$/": colored(RED), "/ fenced$/": colored(YELLOW)},
        ),
        common.timeseries(
            402,
            "Checkpoint duration",
            "Begin to commit of the transaction.",
            common.queries(
                (quantile(0.5, "streamer_checkpoint_duration_seconds", "role"), "{{role}} p50"),
                (quantile(0.99, "streamer_checkpoint_duration_seconds", "role"), "{{role}} p99"),
            ),
            unit="s",
        ),
        common.timeseries(
            403,
            "Checkpoint age by partition",
            "Seconds since a partition's last committed checkpoint.",
            common.queries((age("streamer_checkpoint_timestamp_seconds", "role, partition"), "{{role}} {{partition}}")),
            unit="s",
        ),
        common.timeseries(
            404,
            "Checkpoint size",
            "Encoded output of a checkpoint, median and p99.",
            common.queries(
                (quantile(0.5, "streamer_checkpoint_size_bytes", "role"), "{{role}} p50"),
                (quantile(0.99, "streamer_checkpoint_size_bytes", "role"), "{{role}} p99"),
            ),
            unit="bytes",
            width=6,
        ),
    ]


def _ownership() -> Panels:
    """By whom, and how it got its state."""
    return [
        common.timeseries(
            405,
            "Partitions and rebalances",
            "Partitions owned by each role, which must add up to the topic's; rebalances and rebuilds since the processes started.",
            common.queries(
                (total("streamer_partitions_owned", "role"), "{{role}} owns"),
                (total("streamer_rebalances_total", "role"), "{{role}} rebalances"),
                (total("streamer_fenced_reopenings_total", "role"), "{{role}} reopened after fencing"),
                (total("streamer_active_set_rebuilds_total", ""), "active set in Redis rebuilt"),
            ),
            unit="short",
            width=6,
        ),
        common.timeseries(
            406,
            "Mean time to rebalance and restore",
            "Since the processes started: revocation to all partitions open, and the restore of one partition within it.",
            common.queries(
                (_mean("streamer_rebalance_duration_seconds"), "{{role}} rebalance"),
                (_mean("streamer_state_restore_duration_seconds"), "{{role}} restore"),
            ),
            unit="s",
            width=6,
        ),
        common.timeseries(
            407,
            "State",
            "Rows of state held, and rows read back from changelogs since the processes started.",
            common.queries(
                (total("streamer_state_entries", "role"), "{{role}} held"),
                (total("streamer_state_restored_rows_total", "role"), "{{role}} restored"),
            ),
            unit="short",
            width=6,
        ),
    ]


def row() -> Row:
    """Row 400."""
    return Row(400, "What survives a crash?", [*_checkpoints(), *_ownership()])


def _mean(family: str) -> str:
    return f"sum by (role) ({select(family + '_sum')}) / sum by (role) ({select(family + '_count')})"
