"""How a panel asks: of the chosen jobs and instances, for rates and percentiles."""

from __future__ import annotations

from infra.grafana.dashboard import Query

JOB = 'job=~"$job"'
"""What every query is narrowed to; recorded series are sums over instances, and have a job only."""
ONE = 'job=~"$job", instance=~"$instance"'
"""The same, for series that have an instance."""
RATE = "[$__rate_interval]"
"""The window of a rate, which Grafana makes as wide as it needs to be between two points."""


def rate(metric: str, by: str, more: str = "") -> str:
    """Write how fast a counter goes up, summed by these labels.

    Args:
        metric: The counter's name.
        by: Labels, with commas between them.
        more: Further matchers, each after a comma.
    """
    return f"sum by ({by}) (rate({metric}{{{ONE}{more}}}{RATE}))"


def percentile(share: float, metric: str, by: str = "") -> str:
    """Write a percentile of a histogram.

    Args:
        share: Which, from 0 to 1.
        metric: The histogram's name, without ``_bucket``.
        by: Labels to tell apart, if any.
    """
    labels = f"le, {by}" if by else "le"
    buckets = f"rate({metric}_bucket{{{ONE}}}{RATE})"
    return f"histogram_quantile({share}, sum by ({labels}) ({buckets}))"


def percentiles(metric: str) -> list[Query]:
    """Ask for the usual three of a histogram."""
    return [
        Query(percentile(share, metric), name)
        for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    ]
