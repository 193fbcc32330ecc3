"""Redis as the gateways need it: a broker on loopback whose memory is bounded and honest."""

from __future__ import annotations


def configuration(port: int) -> str:
    """Write ``redis.conf``; Redis runs in its data directory."""
    return f"""\
bind 127.0.0.1
port {port}
protected-mode yes
daemonize no
supervised no
logfile ""
loglevel notice

# Nothing here is worth a disk: after a restart channels begin a new epoch, and clients are told.
save ""
appendonly no

# A full memory refuses writes, so that publishers learn of it; evicting would lose history in
# silence.
maxmemory 256mb
maxmemory-policy noeviction

# A gateway that reads too slowly is cut, and resubscribes: twice Redis' own bounds, for bursts.
client-output-buffer-limit pubsub 64mb 16mb 60
tcp-keepalive 60
timeout 0
"""
