"""The load generator, against the floor: both are small enough to be right about each other."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.benchmarks.gateway.dialect import PAYLOAD, PLAIN
from tests.benchmarks.gateway.generator import Generator
from tests.benchmarks.gateway.servers import Server, floor
from tests.free_ports import free_ports

pytestmark = pytest.mark.integration
SOCKETS = 20


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """The floor."""
    with floor() as running:
        yield running


@pytest.fixture
def generator(server: Server) -> Iterator[Generator]:
    """A generator with a full room, and somebody to publish."""
    with Generator() as running:
        for group, count in ((0, SOCKETS), (1, 1)):
            running.group(group, server.ports[0], PLAIN)
            assert running.open(group, count).opened == count
        yield running


@pytest.mark.parametrize("awake", [True, False])
def test_every_delivery_is_counted_once(generator: Generator, *, awake: bool) -> None:
    """Lost ones and doubled ones would be cheap ones and dear ones."""
    done = generator.publish(
        1, PLAIN.message, expect=SOCKETS, rounds=5, batch=3, gated=True, awake=awake
    )

    assert done.sent == 15
    assert done.delivered == 15 * SOCKETS == sum(done.histogram.values())
    assert 0 <= min(done.histogram) <= max(done.histogram) <= done.longest_us
    assert done.seconds > 0


def test_an_open_loop_counts_from_when_it_was_due(generator: Generator) -> None:
    """A server that is behind would else slow down who measures it, and look good."""
    done = generator.publish(1, PLAIN.message, expect=SOCKETS, rounds=20, interval_us=1_000)

    assert done.delivered == 20 * SOCKETS
    assert done.seconds >= 19 * 0.001
    assert done.longest_us >= done.late_us


def test_deliveries_that_do_not_come_are_missed_soon(generator: Generator) -> None:
    """A row says so, instead of standing still."""
    done = generator.publish(1, PAYLOAD.replace('"t"', '"u"').encode(), expect=SOCKETS, rounds=1)

    assert (done.sent, done.delivered) == (1, 0)


def test_a_refusal_is_counted() -> None:
    """Whoever is not there costs nothing, and would make the others look cheap."""
    (nobody,) = free_ports(1)
    with Generator() as generator:
        generator.group(0, nobody, PLAIN)
        refused = generator.open(0, 3)

    assert (refused.opened, refused.failed, refused.unanswered) == (0, 3, 0)


def test_an_error_in_place_of_a_subscription_is_a_failure() -> None:
    """It is noticed at once, and not when patience is at its end."""
    talk = replace(PLAIN, hello=b"subscribe", ready=b"done", ready_times=1, refused=b"error")
    answer = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listener, Generator() as generator:

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)
                connection.recv(4096)
                connection.sendall(bytes([0x81, 5]) + b"error")
                connection.recv(4096)  # until it has been read

        thread = threading.Thread(target=refuse)
        thread.start()
        generator.group(0, listener.getsockname()[1], talk)
        opened = generator.open(0, 1)
        thread.join()

    assert (opened.opened, opened.failed, opened.unanswered) == (0, 1, 0)
