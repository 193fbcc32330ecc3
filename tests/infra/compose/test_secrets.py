"""What the containers are told in secret: complete, kept, and closed to others."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509

from infra.compose import secrets
from infra.manifests.checks import SECRETS


def files(directory: Path) -> dict[str, bytes]:
    """Read all of them."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_they_are_the_clusters_and_grafanas(tmp_path: Path) -> None:
    """By the same names, and none an example."""
    directory = tmp_path / "compose/secrets"

    assert secrets.ensure(directory)

    wanted = {
        f"{name}/{key}"
        for name, keys in SECRETS.items()
        for key in keys
        if name != "redis-sentinel"  # there are none here
    }
    made = files(directory)
    assert made.keys() == wanted | {"grafana/admin-password", "nginx-tls/ca.crt"}
    assert b"dev-only" not in b"".join(made.values())
    assert len(made["grafana/admin-password"]) == 48


def test_others_cannot_look_but_containers_can(tmp_path: Path) -> None:
    """The engine mounts each file alone, and there its reader is no user of this machine."""
    directory = tmp_path / "compose/secrets"

    secrets.ensure(directory)

    assert directory.parent.stat().st_mode & 0o777 == 0o700
    modes = {path.stat().st_mode & 0o777 for path in directory.rglob("*") if path.is_file()}
    assert modes == {0o444}


def test_they_stay(tmp_path: Path) -> None:
    """The databases were made with them."""
    directory = tmp_path / "compose/secrets"
    secrets.ensure(directory)
    before = files(directory)

    assert not secrets.ensure(directory)
    assert files(directory) == before


def test_the_certificate_is_one_that_clients_are_told_to_trust(tmp_path: Path) -> None:
    """And is made again if it is of no use any more, while passwords stay."""
    directory = tmp_path / "compose/secrets"
    secrets.ensure(directory)
    before = files(directory)
    (tmp_path / "compose/server.pem").write_text("spoilt")

    secrets.ensure(directory)

    after = files(directory)
    authority, leaf = (
        x509.load_pem_x509_certificate(content)
        for content in ((tmp_path / "compose/ca.pem").read_bytes(), after["nginx-tls/tls.crt"])
    )
    leaf.verify_directly_issued_by(authority)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"nginx-tls/tls.crt", "nginx-tls/tls.key", "nginx-tls/ca.crt"}


def test_an_interrupted_start_leaves_no_half(tmp_path: Path) -> None:
    """What was drawn before it ended is thrown away."""
    directory = tmp_path / "compose/secrets"
    (directory.parent / "secrets.new/redis").mkdir(parents=True)
    (directory.parent / "secrets.new/redis/left-over").touch()

    assert secrets.ensure(directory)
    assert not (directory / "redis/left-over").exists()
