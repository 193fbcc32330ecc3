"""Sealed values, derived secrets, and where the keys come from."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from auth_service.exceptions import ConfigurationError
from auth_service.sealing import SecretKeys, load_secret_keys, new_key, parse_keys

OLD, NEW = bytes(range(32)), bytes(range(32, 64))


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_what_was_sealed_opens(plain: bytes, aad: bytes) -> None:
    """And does not show."""
    keys = SecretKeys([OLD])
    blob = keys.seal(plain, aad)

    assert keys.open(blob, aad) == plain
    assert blob != keys.seal(plain, aad)


@given(st.data())
def test_a_changed_value_does_not_open(data: st.DataObject) -> None:
    """Not one bit of it, nor a piece of it, whatever the bytes are."""
    keys = SecretKeys([OLD])
    blob = keys.seal(b"secret", b"kid")
    bit = data.draw(st.integers(0, len(blob) * 8 - 1))
    changed = bytearray(blob)
    changed[bit // 8] ^= 1 << bit % 8

    for wrong in (bytes(changed), blob[: bit // 8], data.draw(st.binary(max_size=80))):
        with pytest.raises(ConfigurationError, match=r"^AUTH_SEALING_KEYS: "):
            keys.open(wrong, b"kid")


def test_a_value_moved_elsewhere_does_not_open() -> None:
    """Its place is part of it."""
    keys = SecretKeys([OLD])

    with pytest.raises(ConfigurationError, match="changed or belongs elsewhere"):
        keys.open(keys.seal(b"secret", b"kid-1"), b"kid-2")


def test_the_first_key_seals_and_all_open() -> None:
    """So keys can be replaced while the service runs."""
    blob = SecretKeys([OLD]).seal(b"secret", b"")
    both = SecretKeys([NEW, OLD])

    assert both.open(blob, b"") == b"secret"
    assert not both.sealed_by_first(blob)
    assert both.sealed_by_first(both.seal(b"secret", b""))
    with pytest.raises(ConfigurationError, match="none of the keys opens"):
        SecretKeys([NEW]).open(blob, b"")


def test_derived_secrets_differ_by_purpose_and_key() -> None:
    """One for making, all for checking."""
    both = SecretKeys([NEW, OLD])

    made, former = both.derive("refresh-token")

    assert (former,) == SecretKeys([OLD]).derive("refresh-token")
    assert len({made, former, *both.derive("limits"), OLD, NEW}) == 6
    assert both.derive("refresh-token") == (made, former)


def test_the_first_start_makes_a_key_and_the_next_keeps_it(tmp_path: Path) -> None:
    """In a file of mode 0600."""
    first = load_secret_keys("", tmp_path / "keys")
    second = load_secret_keys("", tmp_path / "keys")

    assert second.open(first.seal(b"secret", b""), b"") == b"secret"
    assert (tmp_path / "keys" / "sealing.key").stat().st_mode & 0o777 == 0o600


def test_the_setting_beats_the_file(tmp_path: Path) -> None:
    """And none is made then."""
    old, new = new_key(), new_key()
    blob = load_secret_keys(old, tmp_path / "keys").seal(b"secret", b"")

    assert load_secret_keys(f"{new}, {old}=", tmp_path / "keys").open(blob, b"") == b"secret"
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("text", ["", "short", "x" * 42, "x" * 44, "!" * 43, "x" * 42 + "w,"])
def test_malformed_keys_are_refused(text: str) -> None:
    """Without showing them."""
    with pytest.raises(ValueError, match="must be base64url keys of 32 bytes") as refusal:
        parse_keys(text)
    assert not text or text not in str(refusal.value)


def test_one_key_twice_is_refused() -> None:
    """A copy instead of a new one."""
    key = new_key()
    with pytest.raises(ValueError, match="the same key twice"):
        parse_keys(f"{key},{key}")


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff" * 43])
def test_a_damaged_file_stops_the_start(tmp_path: Path, content: bytes) -> None:
    """Never a fresh key over a damaged one."""
    path = tmp_path / "sealing.key"
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(ConfigurationError, match=r"^AUTH_SEALING_KEYS: .*sealing\.key: "):
        load_secret_keys("", tmp_path)
    assert path.read_bytes() == content


def test_a_file_that_others_can_read_stops_the_start(tmp_path: Path) -> None:
    """It opens everything."""
    load_secret_keys("", tmp_path)
    (tmp_path / "sealing.key").chmod(0o644)

    with pytest.raises(ConfigurationError, match=r"^AUTH_SEALING_KEYS: .*must be readable"):
        load_secret_keys("", tmp_path)


def test_a_directory_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    """The line says that no setting was there either."""
    (tmp_path / "keys").write_text("")

    with pytest.raises(ConfigurationError, match=r"^AUTH_SEALING_KEYS: not set, and "):
        load_secret_keys("", tmp_path / "keys")


def test_production_has_no_key_that_nobody_keeps(tmp_path: Path) -> None:
    """Nothing is made, and one line says what is missing; a file that is there counts."""
    with pytest.raises(ConfigurationError, match=r"^AUTH_SEALING_KEYS: not set, and .*No such"):
        load_secret_keys("", tmp_path / "keys", make=False)
    assert not (tmp_path / "keys").exists()

    made = load_secret_keys("", tmp_path / "keys")
    assert load_secret_keys("", tmp_path / "keys", make=False).open(made.seal(b"x", b""), b"")
