"""The files of nginx' configuration that a cluster has and one machine has otherwise.

They are written beside the front's manifest, so that who reads the manifests sees all of it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from infra.stack import nginx

DIRECTORY = Path("k8s/base/nginx")
# Each names the other in its comment; the grace of the pods is longer than this.
LINGER_SECONDS = 300

PLACE = nginx.Place(
    tls=["8443"],
    # Nothing of ours crosses a network unencrypted up to here: there is no plain listener.
    plain=[],
    status=["8080"],
    auth=["auth-service:8080"],
    gateways=["ws-gateway:8080"],
    certificate="/run/secrets/certificate/tls.crt",
    key="/run/secrets/certificate/tls.key",
    # "auto" would count the node's cores.
    workers=2,
    open_files=65_536,
    linger_seconds=LINGER_SECONDS,
    logs="",
    run="/run/nginx",
)
#: nginx counts the sockets of each pod itself; else the cluster's network chooses at random.
BALANCED_DIRECTORY = Path("k8s/components/balanced-gateways")
BALANCED = replace(
    PLACE,
    # nginx' own resolver knows no search list.
    gateways=["ws-gateway-pods.drawbridge.svc.cluster.local:8080"],
    resolver="kube-dns.kube-system.svc.cluster.local",
)


#: An address is of one family, so a port of both is two.
DUAL_DIRECTORY = Path("k8s/components/dual-stack")
DUAL = replace(PLACE, tls=["8443", "[::]:8443"], status=["8080", "[::]:8080"])
VARIANTS = {BALANCED_DIRECTORY: BALANCED, DUAL_DIRECTORY: DUAL}


def changed(place: nginx.Place) -> dict[str, str]:
    """Return the files of a component: those that differ from the base's."""
    usual = nginx.generated(PLACE)
    files = nginx.generated(place)
    return {name: text for name, text in files.items() if text != usual[name]}


def write_all() -> None:
    """Write those of the base and of the components."""
    write()
    for directory, place in VARIANTS.items():
        for name, text in changed(place).items():
            (directory / name).write_text(text, "utf-8")


def write(directory: Path = DIRECTORY) -> None:
    """Write the files, and remove others of an earlier version."""
    files = nginx.generated(PLACE)
    directory.mkdir(parents=True, exist_ok=True)
    for stale in {path.name for path in directory.glob("*.conf")} - set(files):
        (directory / stale).unlink()
    for name, text in files.items():
        (directory / name).write_text(text, "utf-8")
