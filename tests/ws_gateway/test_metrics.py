"""What Prometheus reads."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from ws_gateway.metrics import Buckets, DeliveryTimes, Metrics


@pytest.fixture
def metrics() -> Metrics:
    """A process that has done nothing yet."""
    return Metrics(CollectorRegistry(), "1.2.3")


def scrape(metrics: Metrics) -> dict[str, Metric]:
    """Return what a scrape shows, by name."""
    text = generate_latest(metrics.registry).decode()
    families = text_string_to_metric_families(text)
    # When a histogram was made comes as a family of its own.
    return {found.name: found for found in families if not found.name.endswith("_created")}


def samples(metrics: Metrics, family: str, sample: str) -> dict[tuple[str, ...], float]:
    """Return the values of one sample, by its labels."""
    return {
        tuple(found.labels.values()): found.value
        for found in scrape(metrics)[family].samples
        if found.name == sample
    }


def test_names_are_those_of_the_design(metrics: Metrics) -> None:
    """Prefix, base unit, and every one with a text."""
    metrics.gauge("gateway_connections", "Open connections.", lambda: 3)
    families = scrape(metrics)

    assert set(families) == {
        "gateway_build_info",
        "gateway_command_errors",
        "gateway_connection_duration_seconds",
        "gateway_connections",
        "gateway_disconnects",
        "gateway_handshake_duration_seconds",
        "gateway_handshakes",
        "gateway_jwks_refresh",
        "gateway_message_bytes",
        "gateway_messages_received",
        "gateway_messages_sent",
        "gateway_send_queue_dropped",
    }
    assert all(family.documentation for family in families.values())


def test_tables_are_counted_when_they_are_read(metrics: Metrics) -> None:
    """Each by its own name, in one metric."""
    table, other = [1], [1, 2]
    metrics.table("one", table.__len__)
    metrics.table("two", other.__len__)
    table.append(2)
    other.clear()

    found = samples(metrics, "gateway_table_entries", "gateway_table_entries")
    assert found == {("one",): 2, ("two",): 0}


def test_plain_numbers_become_counters(metrics: Metrics) -> None:
    """The hot path adds to integers."""
    metrics.messages_sent += 5
    metrics.messages_received["publish"] += 2
    metrics.disconnects[3001] += 3
    metrics.command_errors[103] += 1

    assert samples(metrics, "gateway_messages_sent", "gateway_messages_sent_total") == {(): 5}
    assert samples(metrics, "gateway_messages_received", "gateway_messages_received_total") == {
        ("publish",): 2
    }
    assert samples(metrics, "gateway_disconnects", "gateway_disconnects_total") == {("3001",): 3}
    assert samples(metrics, "gateway_command_errors", "gateway_command_errors_total") == {
        ("103",): 1
    }


def test_labels_are_bounded(metrics: Metrics) -> None:
    """Never a user, a connection or a channel."""
    metrics.handshakes["ok"] += 1
    metrics.jwks_refreshes.labels("error").inc()
    metrics.messages_received["rpc"] += 1
    metrics.disconnects[1006] += 1
    metrics.command_errors[100] += 1
    metrics.queues_dropped["bytes"] += 1

    labels = {
        name
        for family in scrape(metrics).values()
        for sample in family.samples
        for name in sample.labels
    }
    assert labels == {"code", "direction", "le", "reason", "result", "type", "version"}


def test_gauge_is_read_at_the_scrape(metrics: Metrics) -> None:
    """Not when it changes; also a truth value is a number."""
    draining = False
    metrics.gauge("gateway_draining", "1 while draining.", lambda: draining)
    before = samples(metrics, "gateway_draining", "gateway_draining")
    draining = True

    assert before == {(): 0}
    assert samples(metrics, "gateway_draining", "gateway_draining") == {(): 1}


def test_durations_are_a_histogram(metrics: Metrics) -> None:
    """From seconds to a day."""
    metrics.connection_seconds.observe(5000)

    name = "gateway_connection_duration_seconds"
    buckets = samples(metrics, name, f"{name}_bucket")
    assert buckets["3600.0",] == 0
    assert buckets["14400.0",] == 1
    assert samples(metrics, name, f"{name}_sum") == {(): 5000}


def test_build_is_named(metrics: Metrics) -> None:
    """Two versions run side by side during a rollout."""
    assert samples(metrics, "gateway_build_info", "gateway_build_info") == {("1.2.3",): 1}


def test_two_gateways_do_not_share_numbers(metrics: Metrics) -> None:
    """One registry each, so that tests and workers do not meet."""
    other = Metrics(CollectorRegistry(), "1.2.3")
    metrics.messages_sent += 1

    assert samples(other, "gateway_messages_sent", "gateway_messages_sent_total") == {(): 0}


def test_counter_is_read_at_the_scrape(metrics: Metrics) -> None:
    """Its owner only adds to a number."""
    seen = 3
    metrics.counter("gateway_things", "Things.", lambda: seen)
    seen += 1

    assert samples(metrics, "gateway_things", "gateway_things_total") == {(): 4}


def test_buckets_become_a_histogram(metrics: Metrics) -> None:
    """A value at a bound belongs below it; one above them all is counted too."""
    buckets = Buckets((0.1, 1))
    metrics.histogram("gateway_lag_seconds", "Lag.", buckets)
    for value in (0.05, 0.1, 0.5, 7):
        buckets.observe(value)

    assert samples(metrics, "gateway_lag_seconds", "gateway_lag_seconds_bucket") == {
        ("0.1",): 2,
        ("1.0",): 3,
        ("+Inf",): 4,
    }
    assert samples(metrics, "gateway_lag_seconds", "gateway_lag_seconds_count") == {(): 4}
    assert samples(metrics, "gateway_lag_seconds", "gateway_lag_seconds_sum") == {(): 7.65}


def test_a_family_has_a_sample_for_each_key(metrics: Metrics) -> None:
    """Whose parts are its labels; it is read when it is scraped."""
    counts = {("publish", 0): 2}
    metrics.family("gateway_api_requests", "Commands.", ("method", "code"), counts)
    counts["info", 100] = 1

    read = {
        (found.labels["method"], found.labels["code"]): found.value
        for found in scrape(metrics)["gateway_api_requests"].samples
    }
    assert read == {("publish", "0"): 2, ("info", "100"): 1}


def test_bytes_go_two_ways(metrics: Metrics) -> None:
    """One family, so that their sum is all of it."""
    metrics.bytes_received += 3
    metrics.bytes_sent = lambda: 40

    assert samples(metrics, "gateway_message_bytes", "gateway_message_bytes_total") == {
        ("in",): 3,
        ("out",): 40,
    }


def test_parts_of_a_histogram_may_come_later(metrics: Metrics) -> None:
    """A command is known when it is sent the first time."""
    parts: dict[str, Buckets] = {}
    metrics.histogram_by("gateway_work_seconds", "Work.", "command", parts)
    before = samples(metrics, "gateway_work_seconds", "gateway_work_seconds_count")
    parts["publish"] = Buckets((1,))
    parts["publish"].observe(0.5)

    after = samples(metrics, "gateway_work_seconds", "gateway_work_seconds_count")
    assert (before, after) == ({}, {("publish",): 1})


def test_deliveries_are_timed_when_they_are_written() -> None:
    """Once for all receivers; two clocks that differ make no negative time."""
    now = 100.0
    times = DeliveryTimes(lambda: now)
    times.add(99.5, 3)
    times.add(100.5, 1)
    now = 100.25

    times.written()
    times.written()

    buckets, total = times.seconds.read()
    assert dict(buckets)["0.001"] == 1
    assert dict(buckets)["0.5"] == 1
    assert dict(buckets)["1.0"] == 4
    assert total == pytest.approx(3 * 0.75)


def test_only_a_good_fetch_of_keys_is_remembered(metrics: Metrics) -> None:
    """By issuer: the age of the oldest is what counts."""
    metrics.count_jwks_fetch("https://a.example", good=False)
    metrics.count_jwks_fetch("https://b.example", good=True)

    assert list(metrics.jwks_fetched_at) == ["https://b.example"]
    assert samples(metrics, "gateway_jwks_refresh", "gateway_jwks_refresh_total") == {
        ("error",): 1,
        ("ok",): 1,
    }
