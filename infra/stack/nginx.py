"""The front's configuration: the files of ``nginx/``, and the small ones that differ by place.

The static part is the same on one machine, in compose and in Kubernetes; it includes the files of
``generated/``, and these alone know ports, upstreams, limits, the certificate and directories.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path("nginx")
# Three pings of 25 s, and never less.
MIN_SILENCE_SECONDS = 75
_PINGS_OF_SILENCE = 3
# Sockets wait here in a storm of reconnects while a worker is busy with TLS.
_BACKLOG = 4096
_RESOLVED_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client address may do; more is answered 429.

    Attributes:
        tokens_per_second: Requests that cost a password hash.
        token_burst: How many more may come at once.
        handshakes_per_second: New sockets.
        handshake_burst: How many more may come at once.
        sockets: Open at the same time.
    """

    tokens_per_second: int = 5
    token_burst: int = 20
    handshakes_per_second: int = 20
    handshake_burst: int = 100
    sockets: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where this nginx runs; paths are absolute, or relative to its directory.

    Attributes:
        tls: Addresses of the listener with TLS.
        plain: Addresses of the one without.
        status: Addresses for probes and the exporter.
        auth: Addresses of the token service.
        gateways: Addresses of the gateways, at least one.
        resolver: DNS server that is asked for the gateways' names again and again, so that each of
            their addresses is balanced and a change needs no reload; from nginx 1.27.3 on. Empty:
            names are resolved once, at the start.
        certificate: PEM file of the chain.
        key: PEM file of its private key.
        limits: None lifts them.
        workers: Processes.
        open_files: What one process may have open; a proxied socket takes two.
        user: Who the workers are, where the master is root.
        linger_seconds: How long a retired worker keeps its sockets after a reload.
        silence_seconds: How long a socket may be silent.
        api_bytes: The largest request to the server API on the plain listener; None if it is not
            served there.
        logs: Directory of the logs; empty: the process' own output, as in a container.
        run: Directory of the pid file and whatever nginx would put on a disk.
    """

    tls: Sequence[str]
    plain: Sequence[str]
    status: Sequence[str]
    auth: Sequence[str]
    gateways: Sequence[str]
    resolver: str = ""
    certificate: str
    key: str
    limits: Limits | None = Limits()
    workers: int
    open_files: int
    user: str = ""
    linger_seconds: int
    silence_seconds: int = MIN_SILENCE_SECONDS
    api_bytes: int | None = None
    logs: str
    run: str


def silence(ping_interval: float) -> int:
    """Return how long a socket may be silent if the gateways ping it so often."""
    return max(MIN_SILENCE_SECONDS, int(_PINGS_OF_SILENCE * ping_interval))


def generated(place: Place) -> dict[str, str]:
    """Write the files of ``generated/``; names and contents."""
    return {
        "main.conf": _main(place),
        "events.conf": f"worker_connections {place.open_files // 2};\n",
        "http.conf": _http(place),
        "limits.conf": _zones(place.limits),
        "limit-token.conf": _token_limit(place.limits),
        "limit-handshake.conf": _handshake_limit(place.limits),
        "silence.conf": f"proxy_read_timeout {place.silence_seconds}s;\n",
        "api.conf": _api(place.api_bytes),
        "listen.conf": _listen(place.tls, "ssl") + _listen(place.plain),
        "status.conf": _listen(place.status),
        "certificate.conf": (
            f'ssl_certificate "{place.certificate}";\nssl_certificate_key "{place.key}";\n'
        ),
        "auth-service.conf": _servers(place.auth),
        "ws-gateway.conf": _resolver(place.resolver)
        + _servers(place.gateways, *(["resolve"] if place.resolver else [])),
    }


def render(place: Place, source: Path = SOURCE) -> dict[str, str]:
    """Return all files of the configuration by their relative paths."""
    static = {
        str(file.relative_to(source)): file.read_text("utf-8")
        for file in sorted(source.rglob("*.conf"))
    }
    return static | {f"generated/{name}": text for name, text in generated(place).items()}


def digest(files: Mapping[str, str]) -> str:
    """Return what differs whenever the configuration does."""
    return hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()


def write(files: Mapping[str, str], directory: Path) -> None:
    """Replace the configuration in ``directory``; logs and pid file stay."""
    for folder in ("conf.d", "snippets", "generated"):
        shutil.rmtree(directory / folder, ignore_errors=True)
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def command(program: str, directory: Path, logs: Path) -> tuple[str, ...]:
    """Return how this configuration is run.

    ``-e`` says where messages go before the configuration is read: the built-in place is not ours.
    """
    return (
        *(program, "-p", f"{directory}{os.sep}", "-c", str(directory / "nginx.conf")),
        *("-e", str(logs / "nginx-error.log")),
    )


def _main(place: Place) -> str:
    user = f"user {place.user};\n" if place.user else ""
    return (
        f"{user}"
        f'pid "{place.run}/nginx.pid";\n'
        f"worker_processes {place.workers};\n"
        f"worker_rlimit_nofile {place.open_files};\n"
        "# A reload retires workers with their sockets, and cuts what is left after this.\n"
        f"worker_shutdown_timeout {place.linger_seconds}s;\n"
        f"error_log {_error_log(place)} notice;\n"
    )


def _http(place: Place) -> str:
    # nginx makes these directories at its start, though nothing of ours is ever written there.
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f'{kind}_temp_path "{place.run}/{kind}";\n' for kind in kinds)
    access_log = f'"{place.logs}/nginx-access.log"' if place.logs else "/dev/stdout"
    return (
        f"access_log {access_log} front;\n"
        "# Messages about a request quote its first line with the query, where a careless client\n"
        "# puts tokens, and there are such messages at every level below emerg. The access log\n"
        "# tells what became of a request, and the process' log all that concerns no request.\n"
        f"error_log {_error_log(place)} emerg;\n"
        f"{temporary}"
    )


def _error_log(place: Place) -> str:
    return f'"{place.logs}/nginx-error.log"' if place.logs else "stderr"


def _zones(limits: Limits | None) -> str:
    if limits is None:
        return "# LIMITS=load: none.\n"
    key = "$binary_remote_addr"
    return (
        f"limit_req_zone {key} zone=token:10m rate={limits.tokens_per_second}r/s;\n"
        f"limit_req_zone {key} zone=handshake:10m rate={limits.handshakes_per_second}r/s;\n"
        f"limit_conn_zone {key} zone=sockets:10m;\n"
    )


def _token_limit(limits: Limits | None) -> str:
    if limits is None:
        return "# LIMITS=load: none.\n"
    return f"limit_req zone=token burst={limits.token_burst} nodelay;\n"


def _handshake_limit(limits: Limits | None) -> str:
    if limits is None:
        return "# LIMITS=load: none.\n"
    return (
        f"limit_req zone=handshake burst={limits.handshake_burst} nodelay;\n"
        f"limit_conn sockets {limits.sockets};\n"
    )


def _api(most_bytes: int | None) -> str:
    if most_bytes is None:
        return "# GATEWAY_API_PUBLIC is not set.\nreturn 404;\n"
    return (
        "if ($scheme = https) {\n    return 404;\n}\n"
        f"client_max_body_size {most_bytes};\nclient_body_buffer_size {most_bytes};\n"
    )


def _listen(addresses: Sequence[str], *words: str) -> str:
    options = " ".join((*words, f"backlog={_BACKLOG}"))
    return "".join(f"listen {address} {options};\n" for address in addresses)


def _resolver(server: str) -> str:
    if not server:
        return ""
    return (
        "# A gateway that leaves is forgotten before it refuses sockets, which is 10 s later.\n"
        f"resolver {server} valid={_RESOLVED_SECONDS}s;\nresolver_timeout {_RESOLVED_SECONDS}s;\n"
    )


def _servers(addresses: Sequence[str], *words: str) -> str:
    # One that refused is left alone for a moment: with least_conn it would be everybody's first.
    options = " ".join((*words, "max_fails=1 fail_timeout=2s"))
    return "".join(f"server {address} {options};\n" for address in addresses)
