"""TLS, and the users of the documentation, for the Redis servers of the tests."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from pathlib import Path
from typing import TypedDict

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PASSWORD = "open-sesame"
ADMINISTRATOR = "tests"
GATEWAY = "drawbridge-gateway"
PUBLISHER = "drawbridge-auth"

_DOCS = Path(__file__).parents[1] / "docs"


class GuardedOptions(TypedDict, total=False):
    """What of a RedisServer's options."""

    login: tuple[str | None, str | None]
    tls: bool


class Guard:
    """What each server of a topology is started with, so that only who is known comes in.

    The users are those that docs/auth.md and docs/redis.md give, word by word, with one more for
    the test itself, and further gateways with the rights of the documented one.

    Args:
        directory: For the files.
        gateways: Further gateways' users.

    Attributes:
        authority: Whom to believe.
        users: The file of the servers' users.
        sentinel_configuration: What of a sentinel's is about users.
        server_options: Of servers.
        sentinel_options: Of sentinels.
    """

    def __init__(self, directory: Path, *gateways: str) -> None:
        self.authority = directory / "redis.pem"
        key = directory / "redis.key"
        make_certificate(self.authority, key)
        (users,) = _blocks("auth.md", "user drawbridge-auth ")
        servers, sentinels = _blocks("redis.md", "user drawbridge")
        gateway = next(line for line in users.splitlines() if f"user {GATEWAY} " in line)
        users = "\n".join(
            (
                *(users, servers),
                *(gateway.replace(GATEWAY, name) for name in gateways),
                f"user {ADMINISTRATOR} on >{PASSWORD} ~* &* +@all\n",
            )
        )
        self.users = directory / "users.acl"
        self.users.write_text(users)
        self.sentinel_configuration = f"{sentinels}\nuser {ADMINISTRATOR} on >{PASSWORD} +@all\n"
        self._tls = (
            *("--tls-cert-file", str(self.authority), "--tls-key-file", str(key)),
            *("--tls-ca-cert-file", str(self.authority), "--tls-auth-clients", "no"),
            *("--tls-replication", "yes"),
        )
        self.server_options = (
            *self._tls,
            *("--aclfile", str(self.users)),
            *("--masteruser", "drawbridge-replica", "--masterauth", PASSWORD),
        )
        self.sentinel_options = self._tls

    def url(self, kind: str, user: str, hosts: str, path: str = "") -> str:
        """Write the setting for a user of servers of a kind, empty for a single one."""
        scheme = f"rediss+{kind}" if kind else "rediss"
        query = f"ssl_ca_certs={self.authority}"
        if kind == "sentinel":
            query += f"&sentinel_username=drawbridge&sentinel_password={PASSWORD}"
        return f"{scheme}://{user}:{PASSWORD}@{hosts}{path}?{query}"


def guarded(guard: Guard | None) -> GuardedOptions:
    """Return how a RedisServer is made behind a guard, if there is one."""
    return {} if guard is None else {"login": (ADMINISTRATOR, PASSWORD), "tls": True}


def _blocks(page: str, beginning: str) -> list[str]:
    """Return the blocks of a page that have a line which begins so, with the password."""
    text = (_DOCS / page).read_text("utf-8")
    blocks = re.findall(r"^```text\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [
        block.replace("SECRET", PASSWORD) for block in blocks if f"\n{beginning}" in f"\n{block}"
    ]


def make_certificate(certificate_path: Path, key_path: Path) -> None:
    """Make a certificate for 127.0.0.1 that nobody but itself vouches for.

    It says nothing of what it is for: the servers of a cluster are each other's clients.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redis")])
    here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([here]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
