"""docs/reference/metrics.md, written from the declarations: `python -m streamer.metrics.reference > docs/reference/metrics.md`."""

from __future__ import annotations

import sys

from streamer.metrics.catalogue import METRICS
from streamer.metrics.counters import DIMENSIONS_OF, STOCKS, Counter
from streamer.metrics.exporter import METRIC_LABELS, OTHERS, suffixes_of
from streamer.metrics.families import FAMILIES, PROCESS_NAMES
from streamer.metrics.metric import Metric
from streamer.metrics.readings import SHOW_MINIMUM

_HEAD = f"""\
# Metrics

Generated from `streamer/metrics` by `python -m streamer.metrics.reference`; do not edit. `cx_*` are about customers and come from the
role rollup; [`streamer_*`](#the-pipeline-itself) are about the product. Rules for operators on the latter are in
`deploy/prometheus/rules`, each with a page in [runbooks](../runbooks/stale-gauges.md).

Counters are added up in panes of event time; a metric is a function of their sums in a window. [H] marks a house definition where the
field has no standard. The windows, and the slices a number is broken down by, are named in the definitions file; the window
`lifetime` is the sum of everything ever counted. A series has the labels {", ".join(f"`{name}`" for name in METRIC_LABELS)};
`slice` names the dimensions it is broken down by, joined by commas, `all` for none. Of the dimensions only those of the slice are
there, and of these only those that have a value: to Prometheus an empty label is none.

| suffix | meaning |
|---|---|
| (none) | the value; absent while the sample is empty |
| `_lower`, `_upper` | 95 % interval: Wilson's score interval for a ratio, normal for a mean |
| `_sample_size` | size of the sample: the denominator, for odds both sides together |
| `_insufficient` | 1 while the sample is smaller than {SHOW_MINIMUM} |

Rules fire on a bound, never on the value; below their own least sample (`min_n`, of all but counts and stocks) they are
`insufficient`, which is neither ok nor firing. A stock is summed for ever, in rules too. A label value beyond the limit of its
dimension is counted as `other` (`cx_label_overflow_total`).

## Customers

| gauge | also | id in rules | kind | formula | leading | version | source |
|---|---|---|---|---|---|---|---|
"""


def markdown() -> str:
    """The whole page."""
    lines = [_HEAD + "\n".join(_metric(metric) for metric in METRICS)]
    lines.append("\n## Freshness, rules and limits\n\n| name | labels | meaning |\n|---|---|---|")
    lines += [f"| `{name}` | {', '.join(f'`{label}`' for label in labels)} | {text} |" for name, (text, labels) in OTHERS.items()]
    lines.append("\n## Counters\n\nWhat the metrics are functions of, and the dimensions a change of each carries. What a rule with")
    lines.append('`on = "account"` looks at carries the event\'s account too, which no gauge has.\n')
    lines.append("| number | counter | kind | dimensions |\n|---|---|---|---|")
    lines += [_counter(counter) for counter in Counter]
    lines.append("\n## The pipeline itself\n\nOf each process. Histograms end in `_bucket`, `_sum` and `_count`.\n")
    lines.append("| name | kind | labels | meaning |\n|---|---|---|---|")
    lines += [f"| `{f.name}` | {f.kind} | {', '.join(f'`{label}`' for label in f.labels)} | {f.help} |" for f in FAMILIES]
    lines.append(f"\nBeside these, what the Prometheus client says of every process: {', '.join(f'`{name}`' for name in PROCESS_NAMES)}.")
    return "\n".join(lines) + "\n"


def _metric(metric: Metric) -> str:
    also = ", ".join(f"`{suffix}`" for suffix in suffixes_of(metric) if suffix) or "-"
    leading = "leading" if metric.leading else "lagging"
    return (
        f"| `{metric.gauge}` | {also} | `{metric.id}` | {metric.kind} | {metric.formula} | {leading} | {metric.version} | {metric.source} |"
    )


def _counter(counter: Counter) -> str:
    kind = "stock" if counter in STOCKS else "flow"
    return f"| {counter.value} | `{counter.name.lower()}` | {kind} | {', '.join(DIMENSIONS_OF[counter])} |"


if __name__ == "__main__":
    sys.stdout.write(markdown())
