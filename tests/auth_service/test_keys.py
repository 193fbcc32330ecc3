"""Key files and the public set."""

from __future__ import annotations

import base64
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from auth_service import keys
from auth_service.exceptions import ConfigurationError
from auth_service.keys import DatedKey, KeyCalendar, from_pem, load_keys, new_pem

PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "k", "oth"}


def _write(
    path: Path, private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
) -> None:
    path.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    path.chmod(0o600)


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_the_first_start_makes_a_key_and_the_next_keeps_it(tmp_path: Path, algorithm: str) -> None:
    """Tokens survive a restart."""
    folder = tmp_path / "keys"
    first = load_keys(folder, algorithm)
    second = load_keys(folder, algorithm)

    assert first.signing.kid == second.signing.kid
    assert first.signing.algorithm == algorithm
    assert folder.stat().st_mode & 0o777 == 0o700
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_no_private_member_is_published(tmp_path: Path) -> None:
    """RFC 7517: the set shows public members, kid, use and alg, and nothing else."""
    load_keys(tmp_path, "RS256")
    ring = load_keys(tmp_path, "ES256")

    published = json.loads(ring.jwks())["keys"]

    assert len(published) == 2
    for key in published:
        assert not key.keys() & PRIVATE_MEMBERS
        members = {"crv", "x", "y"} if key["kty"] == "EC" else {"n", "e"}
        assert key.keys() == {"kty", "kid", "use", "alg"} | members
        assert key["use"] == "sig"


def test_the_kid_is_the_thumbprint(tmp_path: Path) -> None:
    """RFC 7638: SHA-256 over the required members, sorted, without white space."""
    ring = load_keys(tmp_path, "ES256")
    jwk = ring.signing.public_jwk
    canonical = f'{{"crv":"P-256","kty":"EC","x":"{jwk["x"]}","y":"{jwk["y"]}"}}'
    digest = hashlib.sha256(canonical.encode()).digest()

    assert ring.signing.kid == base64.urlsafe_b64encode(digest).decode().rstrip("=")


def test_a_change_of_algorithm_keeps_the_old_key_published(tmp_path: Path) -> None:
    """Tokens signed before go on verifying."""
    old = load_keys(tmp_path, "ES256")
    new = load_keys(tmp_path, "RS256")

    assert new.signing.algorithm == "RS256"
    assert set(new.by_kid) == {old.signing.kid, new.signing.kid}


def test_workers_that_start_together_agree(tmp_path: Path) -> None:
    """One key is made, whoever is faster."""
    with ThreadPoolExecutor(8) as workers:
        rings = list(workers.map(lambda _: load_keys(tmp_path, "ES256"), range(8)))

    assert len({ring.signing.kid for ring in rings}) == 1
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602])
def test_a_key_that_others_can_read_stops_the_start(tmp_path: Path, mode: int) -> None:
    """One line that names setting and file."""
    load_keys(tmp_path, "ES256")
    (tmp_path / "signing-es256.pem").chmod(mode)

    with pytest.raises(ConfigurationError, match=r"^AUTH_KEYS_DIR: .*signing-es256\.pem must be"):
        load_keys(tmp_path, "ES256")


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_a_key_that_cannot_be_parsed_stops_the_start(tmp_path: Path, content: bytes) -> None:
    """Never a fresh key over a damaged one."""
    file = tmp_path / "signing-es256.pem"
    file.write_bytes(content)
    file.chmod(0o600)

    with pytest.raises(ConfigurationError, match="no unencrypted PEM private key"):
        load_keys(tmp_path, "ES256")
    assert file.read_bytes() == content


def test_unsuitable_keys_stop_the_start(tmp_path: Path) -> None:
    """RFC 8725 section 3.5; and python-jose would sign ES256 with P-384 without a word."""
    for private in (
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(public_exponent=65537, key_size=1024),  # noqa: S505 (weak on purpose)
        ed25519.Ed25519PrivateKey.generate(),
    ):
        _write(tmp_path / "signing-es256.pem", private)
        with pytest.raises(ConfigurationError, match="neither a P-256 key nor an RSA key"):
            load_keys(tmp_path, "ES256")


def test_a_key_of_another_kind_does_not_sign(tmp_path: Path) -> None:
    """One algorithm per key (RFC 8725 section 3.1)."""
    load_keys(tmp_path, "RS256")
    (tmp_path / "signing-rs256.pem").rename(tmp_path / "signing-es256.pem")

    with pytest.raises(ConfigurationError, match="holds no key for ES256"):
        load_keys(tmp_path, "ES256")


def test_a_folder_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    """A file where the folder should be."""
    (tmp_path / "keys").write_text("")

    with pytest.raises(ConfigurationError, match=r"^AUTH_KEYS_DIR: cannot use"):
        load_keys(tmp_path / "keys", "ES256")


def test_the_id_of_a_made_key_is_never_taken_for_an_option(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``keys revoke KID`` would answer that KID was missing, in an emergency."""
    ids = iter(["-a", "-", "_b-"])
    monkeypatch.setattr(keys, "_thumbprint", lambda _members: next(ids))

    new_pem("ES256")

    assert next(ids, None) is None


def _dated(algorithm: str = "ES256", **times: int | None) -> DatedKey:
    values: dict[str, int | None] = {"created_at": 0, "activates_at": 0, **times}
    return DatedKey(key=from_pem(new_pem(algorithm)), **values)  # type: ignore[arg-type]


def test_times_decide_what_a_key_does() -> None:
    """J23: a pending key is published and does not sign, a retired one verifies, and so on."""
    first, second = _dated(removes_at=100), _dated(activates_at=50)
    revoked = _dated(activates_at=60, revoked_at=10)
    calendar = KeyCalendar([second, revoked, first])

    def look(now: float) -> tuple[list[str], str, set[str]]:
        ring = calendar.at(now)
        return [state for _, state in calendar.states(now)], ring.signing.kid, set(ring.by_kid)

    one, two = first.key.kid, second.key.kid
    assert look(-5) == (["active", "pending", "revoked"], one, {one, two})
    assert look(49.9) == (["active", "pending", "revoked"], one, {one, two})
    assert look(50) == (["retired", "active", "revoked"], two, {one, two})
    assert look(99.9) == (["retired", "active", "revoked"], two, {one, two})
    assert look(100) == (["removed", "active", "revoked"], two, {two})
    assert look(0) == (["active", "pending", "revoked"], one, {one, two})


def test_the_keys_of_a_moment_are_made_once() -> None:
    """Signing asks for them each time."""
    calendar = KeyCalendar([_dated(removes_at=100), _dated(activates_at=50)])

    assert calendar.at(1) is calendar.at(49)
    assert calendar.at(49) is not calendar.at(51)


def test_without_a_published_key_nothing_is_signed() -> None:
    """An error of ours, never a token without a key."""
    with pytest.raises(LookupError, match="no signing key"):
        KeyCalendar([_dated(revoked_at=1)]).at(5)


def test_keys_in_files_are_the_same_at_any_time(tmp_path: Path) -> None:
    """They change by a restart."""
    ring = load_keys(tmp_path, "ES256")

    assert ring.at(0) is ring.at(1e10) is ring
