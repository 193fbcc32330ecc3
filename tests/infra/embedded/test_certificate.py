"""The front's certificate: who accepts it, and when it is made anew."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from infra.embedded import certificate
from infra.embedded.local_directory import LocalDirectory
from ws_gateway.exceptions import ConfigurationError

FILES = (certificate.CA, certificate.SERVER, certificate.KEY)


@pytest.fixture
def local(tmp_path: Path) -> LocalDirectory:
    """A directory with a fresh certificate."""
    directory = LocalDirectory(str(tmp_path))
    certificate.ensure(directory)
    return directory


def contents(local: LocalDirectory) -> list[bytes | None]:
    """Return what all files hold."""
    return [local.read(name) for name in FILES]


def handshake(local: LocalDirectory, name: str, cafile: Path) -> None:
    """Run a TLS handshake in memory, as strictly as Python can verify."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(local.path(certificate.SERVER), local.path(certificate.KEY))
    client = ssl.create_default_context(cafile=cafile)
    client.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(back, there, server_hostname=name),
        server.wrap_bio(there, back, server_side=True),
    ]
    for _ in range(3):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_a_strict_client_accepts_it_for_every_loopback_name(
    local: LocalDirectory, name: str
) -> None:
    """Python 3.13 verifies with VERIFY_X509_STRICT by default."""
    handshake(local, name, local.path(certificate.CA))


def test_another_name_is_not_accepted(local: LocalDirectory) -> None:
    """It is for this machine."""
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(local, "drawbridge.example", local.path(certificate.CA))


def test_another_authority_is_not_accepted(local: LocalDirectory, tmp_path: Path) -> None:
    """Each directory has an authority of its own."""
    other = LocalDirectory(str(tmp_path / "other"))
    other.make()
    certificate.ensure(other)

    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(local, "localhost", other.path(certificate.CA))


def test_the_leaf_is_a_server_for_thirty_days_and_nothing_else(local: LocalDirectory) -> None:
    """RFC 5280 section 4.2; it can sign no further certificate."""
    leaf = x509.load_pem_x509_certificate(local.path(certificate.SERVER).read_bytes())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert names.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address("127.0.0.1"),
        ipaddress.ip_address("::1"),
    ]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    lasting = leaf.not_valid_after_utc - dt.datetime.now(dt.UTC)
    assert dt.timedelta(days=29) < lasting <= dt.timedelta(days=30)
    assert isinstance(leaf.public_key(), ec.EllipticCurvePublicKey)


def test_the_authoritys_key_is_not_kept(local: LocalDirectory) -> None:
    """The one private key there is the leaf's, closed to others."""
    authority = x509.load_pem_x509_certificate(local.path(certificate.CA).read_bytes())
    path = local.path(certificate.KEY)
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)

    assert key.public_key() != authority.public_key()
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(file.name for file in path.parent.iterdir()) == sorted(FILES)


def test_a_good_one_is_kept(local: LocalDirectory) -> None:
    """Who trusts it need not be asked again at each start."""
    before = contents(local)

    certificate.ensure(local)

    assert contents(local) == before


@pytest.mark.parametrize(("days", "renewed"), [(28.9, False), (29.1, True), (40, True), (-1, True)])
def test_it_is_renewed_when_less_than_a_day_is_left(
    local: LocalDirectory, days: float, renewed: bool
) -> None:
    """Also where the clock went back before its beginning."""
    before = contents(local)

    certificate.ensure(local, now=dt.datetime.now(dt.UTC) + dt.timedelta(days=days))

    assert (contents(local) != before) is renewed


def test_it_gets_a_name_more_where_the_front_has_one(local: LocalDirectory) -> None:
    """And keeps it until somebody wants another."""
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(local, "nginx", local.path(certificate.CA))

    certificate.ensure(local, names=["nginx"])
    made = contents(local)
    for name in ("nginx", "localhost"):
        handshake(local, name, local.path(certificate.CA))

    certificate.ensure(local, names=["nginx"])
    assert contents(local) == made


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [None, b"", b"not PEM"])
def test_a_missing_or_damaged_file_renews_all(
    local: LocalDirectory, name: str, damage: bytes | None
) -> None:
    """They fit together or not at all."""
    before = contents(local)
    if damage is None:
        local.path(name).unlink()
    else:
        local.path(name).write_bytes(damage)

    certificate.ensure(local)

    assert not set(contents(local)) & set(before)
    handshake(local, "localhost", local.path(certificate.CA))


@pytest.mark.parametrize("name", FILES)
def test_files_that_do_not_fit_together_are_renewed(
    local: LocalDirectory, tmp_path: Path, name: str
) -> None:
    """As an interruption between two of them leaves it."""
    other = LocalDirectory(str(tmp_path / "other"))
    other.make()
    certificate.ensure(other)
    local.path(name).write_bytes(other.path(name).read_bytes())

    certificate.ensure(local)

    handshake(local, "localhost", local.path(certificate.CA))


def test_a_directory_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    """One line that names the setting."""
    with pytest.raises(ConfigurationError, match=r"^DRAWBRIDGE_LOCAL: cannot use .*: No such file"):
        certificate.ensure(LocalDirectory(str(tmp_path / "missing")))
