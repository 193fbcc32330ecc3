"""How a panel asks, written out."""

from __future__ import annotations

from infra.grafana.dashboard import Query
from infra.grafana.queries import percentile, percentiles, rate


def test_a_rate_is_of_what_was_chosen() -> None:
    """Each instance's counter before the sum: a restart is no loss of what others counted."""
    assert rate("a_total", "code") == (
        'sum by (code) (rate(a_total{job=~"$job", instance=~"$instance"}[$__rate_interval]))'
    )
    assert 'instance=~"$instance", code!="0"}' in rate("a_total", "code", ', code!="0"')


def test_a_percentile_is_of_all_buckets_together() -> None:
    """Of the sum of the instances' buckets: percentiles themselves cannot be added."""
    assert percentile(0.5, "a_seconds") == (
        "histogram_quantile(0.5, sum by (le) "
        '(rate(a_seconds_bucket{job=~"$job", instance=~"$instance"}[$__rate_interval])))'
    )
    assert "sum by (le, kind) (" in percentile(0.5, "a_seconds", "kind")


def test_the_usual_percentiles_are_named() -> None:
    """In the legend."""
    assert percentiles("a_seconds") == [
        Query(percentile(0.5, "a_seconds"), "p50"),
        Query(percentile(0.95, "a_seconds"), "p95"),
        Query(percentile(0.99, "a_seconds"), "p99"),
    ]
