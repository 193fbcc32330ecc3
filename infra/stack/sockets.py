"""Who listens where, read from the kernel's tables."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LISTENING = "0A"
_WORD = 8

Address = tuple[str, int]


def listening(pids: Iterable[int]) -> set[Address]:
    """Return address and port of every TCP socket on which these processes listen."""
    mine = {inode for pid in pids for inode in _sockets(pid)}
    return {address for inode, address in _listeners() if inode in mine}


def _sockets(pid: int) -> set[str]:
    found = set()
    # It may end, or close a descriptor, while it is looked at.
    with contextlib.suppress(OSError):
        for descriptor in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                link = str(Path(descriptor.path).readlink())
                if link.startswith("socket:["):
                    found.add(link[len("socket:[") : -1])
    return found


def _listeners() -> Iterable[tuple[str, Address]]:
    for table in _TABLES:
        with contextlib.suppress(FileNotFoundError):  # no IPv6
            for line in table.read_text("ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING:
                    yield fields[9], _address(fields[1])


def _address(text: str) -> Address:
    """Read ``0100007F:1F90``: words of 32 bits as this machine keeps them, and a port."""
    digits, port = text.split(":")
    words = (digits[at : at + _WORD] for at in range(0, len(digits), _WORD))
    packed = b"".join(int(word, 16).to_bytes(4, sys.byteorder) for word in words)
    family = socket.AF_INET if len(packed) == ipaddress.IPV4LENGTH // 8 else socket.AF_INET6
    return socket.inet_ntop(family, packed), int(port, 16)
