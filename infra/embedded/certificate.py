"""The front's certificate: a throw-away authority signs one leaf, and its key is never kept.

Whoever trusts ``ca.pem`` trusts this one leaf and nothing that could be signed later. The
extensions are those that strict verifiers ask for (RFC 5280 section 4.2; Python since 3.13).
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from infra.embedded.local_directory import PRIVATE, PUBLIC, LocalDirectory

CA = "ca.pem"
SERVER = "server.pem"
KEY = "server.key"

LIFETIME = dt.timedelta(days=30)
RENEW_BEFORE = dt.timedelta(days=1)
# For a client whose clock is behind, in a virtual machine on this one perhaps.
_BACKDATED = dt.timedelta(hours=1)


def ensure(
    local: LocalDirectory, *, names: Sequence[str] = (), now: dt.datetime | None = None
) -> None:
    """Make certificate and key, unless there are some that fit together and last another day.

    Args:
        local: Where they are.
        names: Of the front, besides ``localhost`` and its addresses.
        now: The time, with its zone; the clock's unless given.

    Raises:
        ConfigurationError: The directory cannot be used.
    """
    moment = now or dt.datetime.now(dt.UTC)
    files = [local.read(name) for name in (CA, SERVER, KEY)]
    if not _usable(files, names, moment):
        _renew(local, names, moment)


def _usable(files: list[bytes | None], names: Sequence[str], now: dt.datetime) -> bool:
    present = [content for content in files if content is not None]
    if len(present) < len(files):
        return False
    try:
        authority, leaf = (x509.load_pem_x509_certificate(content) for content in present[:2])
        key = serialization.load_pem_private_key(present[2], password=None)
        leaf.verify_directly_issued_by(authority)
        known = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (
        *(ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm),
        x509.ExtensionNotFound,
    ):
        return False
    lasting = all(
        certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc - RENEW_BEFORE
        for certificate in (authority, leaf)
    )
    named = set(names) <= set(known.get_values_for_type(x509.DNSName))
    return lasting and named and key.public_key() == leaf.public_key()


def _renew(local: LocalDirectory, names: Sequence[str], now: dt.datetime) -> None:
    authority_key = ec.generate_private_key(ec.SECP256R1())
    leaf_key = ec.generate_private_key(ec.SECP256R1())
    authority = _authority(authority_key, now)
    leaf = _leaf(leaf_key.public_key(), names, authority, authority_key, now)
    pem = serialization.Encoding.PEM
    # An interruption in between leaves files that do not fit together: the next start sees it.
    local.write(
        KEY,
        leaf_key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        mode=PRIVATE,
    )
    local.write(SERVER, leaf.public_bytes(pem), mode=PUBLIC)
    local.write(CA, authority.public_bytes(pem), mode=PUBLIC)


def _authority(key: ec.EllipticCurvePrivateKey, now: dt.datetime) -> x509.Certificate:
    name = _name("Drawbridge, throw-away authority of one certificate")
    return (
        _builder(name, key.public_key(), now)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _leaf(
    public: ec.EllipticCurvePublicKey,
    more: Sequence[str],
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    now: dt.datetime,
) -> x509.Certificate:
    names = [
        *(x509.DNSName(name) for name in ("localhost", *more)),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("::1")),
    ]
    identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        _builder(_name("localhost"), public, now)
        .issuer_name(authority.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, public: ec.EllipticCurvePublicKey, now: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
