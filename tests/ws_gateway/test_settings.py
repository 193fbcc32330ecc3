"""The environment: typed, bounded, and refused in one line that names the variable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ws_gateway.exceptions import ConfigurationError
from ws_gateway.settings import Settings

ENTRY = {"issuer": "https://a.example", "jwks_url": "https://a.example/k", "audience": "us"}


def read(**variables: str) -> Settings:
    """Read an environment of these variables, without their prefix."""
    return Settings.from_environment({f"GATEWAY_{name}": text for name, text in variables.items()})


def refusal(**variables: str) -> str:
    """Return the line that such an environment is refused with."""
    with pytest.raises(ConfigurationError) as caught:
        read(**variables)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    return line


class TestValues:
    """Each variable, as it is written."""

    def test_nothing_is_needed(self) -> None:
        """A bare laptop: loopback only, the embedded token service, no channels, no hooks."""
        settings = read()

        assert settings.bind == (("127.0.0.1", 8011),)
        assert settings.internal_bind == (("127.0.0.1", 9011),)
        assert [entry.issuer for entry in settings.issuers] == ["https://localhost:8443"]
        assert settings.issuers[0].typ == "at+jwt"
        assert settings.issuers[0].scope == "connect"
        assert settings.origins == ("https://localhost:8443",)
        assert settings.channels_file is None
        assert settings.hooks == ""
        assert settings.query_token is False

    def test_times_default_to_those_of_the_protocol(self) -> None:
        """The design's table of settings."""
        settings = read()

        assert settings.max_token_seconds == 86_400
        assert settings.connect_timeout_seconds == 10
        assert settings.expiry_grace_seconds == 25
        assert settings.ping_interval == 25
        assert settings.pong_timeout == 8

    @pytest.mark.parametrize(
        ("name", "text", "value"),
        [
            ("BIND", "0.0.0.0:80", (("0.0.0.0", 80),)),  # noqa: S104 - a value, not a socket
            ("BIND", " a:1 , [::1]:2 ", (("a", 1), ("::1", 2))),
            ("INTERNAL_BIND", "127.0.0.1:0", (("127.0.0.1", 0),)),
            ("MAX_TOKEN_SECONDS", "60", 60),
            ("ORIGINS", "https://a, https://b:1", ("https://a", "https://b:1")),
            ("CHANNELS_FILE", "/a/b.toml", Path("/a/b.toml")),
            ("HOOKS", "package.module:name", "package.module:name"),
            ("QUERY_TOKEN", "1", True),
            ("QUERY_TOKEN", "0", False),
            ("DRAIN_SECONDS", "0", 0),
            ("MAX_CONNECTION_AGE", "0", 0),
            ("CONNECT_TIMEOUT_SECONDS", "0.5", 0.5),
            ("EXPIRY_GRACE_SECONDS", "0", 0),
            ("PING_INTERVAL", "8.5", 8.5),
            ("PONG_TIMEOUT", "24.9", 24.9),
            ("MAX_MESSAGE_BYTES", "1024", 1024),
            ("MAX_CHANNELS", "1", 1),
            ("MAX_QUEUE_BYTES", "65536", 65_536),
            ("MAX_STALL_SECONDS", "86400", 86_400),
            ("MAX_UNAUTHENTICATED", "1", 1),
            ("MAX_UNAUTHENTICATED_PER_ADDRESS", "1", 1),
            ("LOG_LEVEL", "DEBUG", "DEBUG"),
        ],
    )
    def test_good_value_is_read(self, name: str, text: str, value: object) -> None:
        """Also at its bounds."""
        assert getattr(read(**{name: text}), name.lower()) == value

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("BIND", "127.0.0.1"),
            ("BIND", ":80"),
            ("BIND", "a:b"),
            ("BIND", "a:-1"),
            ("BIND", "a:65536"),
            ("BIND", "a:" + "9" * 5000),
            ("BIND", "a:٣"),
            ("BIND", "a:1,b"),
            ("BIND", ","),
            ("INTERNAL_BIND", "a"),
            ("MAX_TOKEN_SECONDS", "59"),
            ("MAX_TOKEN_SECONDS", "soon"),
            ("HOOKS", "module"),
            ("HOOKS", "module:name:more"),
            ("HOOKS", "module:name\n"),
            ("QUERY_TOKEN", "perhaps"),
            ("DRAIN_SECONDS", "-1"),
            ("DRAIN_SECONDS", "3601"),
            ("DRAIN_SECONDS", "nan"),
            ("MAX_CONNECTION_AGE", "-1"),
            ("MAX_CONNECTION_AGE", "inf"),
            ("CONNECT_TIMEOUT_SECONDS", "0"),
            ("EXPIRY_GRACE_SECONDS", "-1"),
            ("PING_INTERVAL", "0"),
            ("PING_INTERVAL", "inf"),
            ("PONG_TIMEOUT", "nan"),
            ("PONG_TIMEOUT", "25"),
            ("MAX_MESSAGE_BYTES", "1023"),
            ("MAX_MESSAGE_BYTES", "16777217"),
            ("MAX_CHANNELS", "0"),
            ("MAX_CHANNELS", "1.5"),
            ("MAX_QUEUE_BYTES", "65535"),
            ("MAX_STALL_SECONDS", "0"),
            ("MAX_UNAUTHENTICATED", "0"),
            ("MAX_UNAUTHENTICATED_PER_ADDRESS", "0"),
            ("LOG_LEVEL", "debug"),
            ("LOG_LEVEL", "INFO\n"),
        ],
    )
    def test_bad_value_is_one_line_that_names_the_variable(self, name: str, text: str) -> None:
        """A wrong deployment stops at its start with a sentence."""
        assert refusal(**{name: text}).startswith(f"GATEWAY_{name}: ")

    @given(
        st.sampled_from(sorted(Settings.model_fields)),
        st.text(max_size=40).filter(lambda text: "\0" not in text),
    )
    def test_any_text_is_a_value_or_one_line(self, field: str, text: str) -> None:
        """No text in the environment ends in a traceback."""
        variable, line = f"GATEWAY_{field.upper()}", ""
        try:
            Settings.from_environment({variable: text})
        except ConfigurationError as error:
            line = str(error)

        assert line.startswith(f"{variable}: ") or not line
        assert "\n" not in line

    def test_pong_must_come_before_the_next_ping(self) -> None:
        """Else two pings would wait for an answer at once; both numbers are said."""
        line = refusal(PING_INTERVAL="5", PONG_TIMEOUT="6")

        assert line == "GATEWAY_PONG_TIMEOUT: must be less than GATEWAY_PING_INTERVAL (6 >= 5)"

    def test_empty_value_counts_as_none(self) -> None:
        """As compose and Kubernetes write what is not set."""
        assert read(HOOKS="", CHANNELS_FILE="", BIND="") == read()

    def test_settings_do_not_change(self) -> None:
        """They are read once."""
        with pytest.raises(ValueError, match="frozen"):
            read().hooks = "a:b"


class TestWorkers:
    """Several processes are one gateway to those outside, or they are refused."""

    def test_one_is_the_default_and_redis_lets_there_be_more(self) -> None:
        """Redis is where they meet."""
        assert read().workers == 1
        assert read(WORKERS="4", REDIS_URL="redis://127.0.0.1").workers == 4

    def test_without_redis_they_would_not_meet(self) -> None:
        """Publications would reach the subscribers of one process."""
        assert refusal(WORKERS="2").startswith("GATEWAY_REDIS_URL: ")

    def test_their_internal_ports_are_ports(self) -> None:
        """The last one's too."""
        variables = {"WORKERS": "3", "REDIS_URL": "redis://127.0.0.1"}

        assert read(**variables, INTERNAL_BIND="127.0.0.1:65533").workers == 3
        line = refusal(**variables, INTERNAL_BIND="127.0.0.1:65534")
        assert line.startswith("GATEWAY_INTERNAL_BIND: ")


class TestNames:
    """Which variables are ours."""

    @pytest.mark.parametrize("name", ["BINDS", "X", "", "SERVICE", "PORTS"])
    def test_unknown_variable_is_refused(self, name: str) -> None:
        """A misspelt limit would silently be none."""
        assert refusal(**{name: "1"}) == f"GATEWAY_{name}: unknown setting"

    @pytest.mark.parametrize(
        "name",
        [
            "PORT",
            "PORT_8080_TCP",
            "PORT_8080_TCP_ADDR",
            "SERVICE_HOST",
            "SERVICE_PORT",
            "SERVICE_PORT_HTTP",
        ],
    )
    def test_service_links_of_kubernetes_are_ignored(self, name: str) -> None:
        """A Service called "gateway" puts them into every pod of its namespace."""
        assert read(**{name: "tcp://10.0.0.1:8080"}) == read()

    def test_other_variables_are_not_ours(self) -> None:
        """The prefix tells."""
        assert Settings.from_environment({"PATH": "/bin", "AUTH_X": "1"}) == read()

    def test_environment_of_the_process_is_the_default(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What ``python -m ws_gateway`` reads."""
        monkeypatch.setenv("GATEWAY_MAX_CHANNELS", "7")

        assert Settings.from_environment().max_channels == 7


class TestIssuers:
    """``GATEWAY_ISSUERS``: JSON, and strict about it."""

    def test_entries_are_read(self) -> None:
        """Other providers have other habits."""
        other = {"issuer": "b", "jwks_url": "c", "audience": "d", "typ": "JWT", "scope": ""}
        settings = read(ISSUERS=json.dumps([ENTRY | {"user_prefix": "a"}, other]))

        first, second = settings.issuers
        assert (first.issuer, first.user_prefix, first.typ) == (ENTRY["issuer"], "a", "at+jwt")
        assert (second.typ, second.scope, second.user_prefix) == ("JWT", "", "")

    @pytest.mark.parametrize(
        "value",
        [
            "{",
            "[",
            "https://a.example",
            "null",
            "{}",
            "[1]",
            "[[]]",
            "[]",
            json.dumps(ENTRY),
        ],
    )
    def test_what_is_no_list_of_entries_is_refused(self, value: str) -> None:
        """Nothing in between is guessed."""
        assert refusal(ISSUERS=value).startswith("GATEWAY_ISSUERS: ")

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"audience": None}, "audience"),
            ({"jwks_url": 1}, "jwks_url"),
            ({"colour": "red"}, "colour"),
            ({"user_prefix": ["a"]}, "user_prefix"),
        ],
    )
    def test_wrong_member_is_named(self, change: dict[str, Any], named: str) -> None:
        """Also one that nobody knows: it may be a misspelt one."""
        line = refusal(ISSUERS=json.dumps([ENTRY | change]))

        assert line.startswith(f"GATEWAY_ISSUERS: {named}: ")

    def test_missing_member_is_named(self) -> None:
        """Each entry needs three."""
        entry = {name: value for name, value in ENTRY.items() if name != "audience"}

        assert refusal(ISSUERS=json.dumps([entry])) == "GATEWAY_ISSUERS: audience: Field required"

    def test_value_is_not_repeated(self) -> None:
        """A URL may hold a password."""
        line = refusal(ISSUERS=json.dumps([ENTRY | {"jwks_url": ["https://user:secret@host"]}]))

        assert "secret" not in line


class TestChannelsFile:
    """``GATEWAY_CHANNELS_FILE``."""

    def test_without_a_file_there_are_no_channels(self) -> None:
        """Nothing is allowed that nobody wrote down."""
        channels = read().load_channels()

        assert channels.namespaces == {}
        assert not channels.without_namespace.allow_subscribe_for_client

    def test_file_is_read(self, tmp_path: Path) -> None:
        """TOML, UTF-8."""
        path = tmp_path / "channels.toml"
        path.write_text("[namespaces.room]\nallow_subscribe_for_client = true  # größer\n", "utf-8")

        channels = read(CHANNELS_FILE=str(path)).load_channels()

        assert channels.namespaces["room"].allow_subscribe_for_client

    @pytest.mark.parametrize(
        "content",
        [b"[", b"\xff", b"[nonsense]\n", b"[namespaces.room]\nallow_all = true\n", b"a = 1"],
    )
    def test_bad_file_is_one_line_with_variable_and_path(
        self, tmp_path: Path, content: bytes
    ) -> None:
        """Where to look is the first thing to say."""
        path = tmp_path / "channels.toml"
        path.write_bytes(content)

        with pytest.raises(ConfigurationError) as caught:
            read(CHANNELS_FILE=str(path)).load_channels()

        line = str(caught.value)
        assert line.startswith(f"GATEWAY_CHANNELS_FILE: {path}: ")
        assert "\n" not in line

    def test_file_that_cannot_be_read_is_said_to_be(self, tmp_path: Path) -> None:
        """Missing, or a folder."""
        with pytest.raises(ConfigurationError, match="No such file or directory"):
            read(CHANNELS_FILE=str(tmp_path / "missing")).load_channels()
        with pytest.raises(ConfigurationError, match="Is a directory"):
            read(CHANNELS_FILE=str(tmp_path)).load_channels()


class TestRedisURL:
    """``GATEWAY_REDIS_URL``, which may hold a password, and ``GATEWAY_REDIS_URL_FILE``."""

    def test_without_one_publications_stay_in_the_process(self) -> None:
        """A bare laptop needs no Redis."""
        assert read().redis_url is None

    def test_it_is_not_shown(self) -> None:
        """Neither by what prints the settings nor by what logs them."""
        settings = read(REDIS_URL="redis://:h1dden@host")

        assert settings.redis_url is not None
        assert settings.redis_url.get_secret_value() == "redis://:h1dden@host"
        assert "h1dden" not in f"{settings!r} {settings} {settings.model_dump_json()}"

    def test_it_may_come_from_a_file(self, tmp_path: Path) -> None:
        """As secrets are mounted; the line's end is not part of it."""
        path = tmp_path / "url"
        path.write_text("redis://:secret@host\n")

        settings = read(REDIS_URL_FILE=str(path), REDIS_URL="")

        assert settings == read(REDIS_URL="redis://:secret@host")

    def test_both_are_refused(self, tmp_path: Path) -> None:
        """One of them would silently not count."""
        line = refusal(REDIS_URL_FILE=str(tmp_path), REDIS_URL="redis://host")

        assert line == "GATEWAY_REDIS_URL_FILE: set it or the plain one, not both"

    def test_file_that_cannot_be_read_is_said_to_be(self, tmp_path: Path) -> None:
        """Missing, or no text."""
        (tmp_path / "bytes").write_bytes(b"\xff")

        missing = refusal(REDIS_URL_FILE=str(tmp_path / "missing"))
        unreadable = refusal(REDIS_URL_FILE=str(tmp_path / "bytes"))

        prefix = "GATEWAY_REDIS_URL_FILE: cannot read the file: "
        assert missing == f"{prefix}No such file or directory"
        assert unreadable == f"{prefix}not UTF-8 text"

    def test_empty_file_variable_counts_as_none(self) -> None:
        """As every other."""
        assert read(REDIS_URL_FILE="") == read()


LONG = "0123456789abcdef" * 2
PREFIXED = json.dumps([ENTRY | {"user_prefix": "a"}])


class TestHMACSecret:
    """``GATEWAY_HMAC_SECRET``, and what must be so beside it."""

    def test_there_is_none_by_default(self) -> None:
        """Only the issuers' tokens count."""
        assert read().hmac_secret is None

    def test_it_is_not_shown(self) -> None:
        """Neither by what prints the settings nor by what logs them."""
        settings = read(HMAC_SECRET=LONG, ISSUERS="[]")

        assert settings.hmac_secret is not None
        assert settings.hmac_secret.get_secret_value() == LONG
        assert LONG not in f"{settings!r} {settings} {settings.model_dump_json()}"

    def test_it_may_come_from_a_file(self, tmp_path: Path) -> None:
        """As secrets are mounted."""
        path = tmp_path / "secret"
        path.write_text(LONG + "\n")

        settings = read(HMAC_SECRET_FILE=str(path), ISSUERS="[]")

        assert settings.hmac_secret is not None
        assert settings.hmac_secret.get_secret_value() == LONG

    def test_short_one_is_refused(self) -> None:
        """It could be guessed from any one token."""
        line = refusal(HMAC_SECRET=LONG[1:], ISSUERS="[]")

        assert line == "GATEWAY_HMAC_SECRET: must be at least 32 bytes long"

    def test_issuers_beside_it_need_a_prefix(self) -> None:
        """Whoever has the secret could be any of an issuer's users."""
        line = refusal(HMAC_SECRET=LONG)

        assert line == (
            "GATEWAY_HMAC_SECRET: beside it every issuer in GATEWAY_ISSUERS needs a user_prefix"
        )
        assert read(HMAC_SECRET=LONG, ISSUERS=PREFIXED).issuers[0].user_prefix == "a"

    def test_without_it_there_must_be_an_issuer(self) -> None:
        """Nobody could ever come in."""
        assert refusal(ISSUERS="[]").startswith("GATEWAY_ISSUERS: must name at least one issuer")
        assert read(ISSUERS="[]", HMAC_SECRET=LONG).issuers == ()


class TestInsecure:
    """``GATEWAY_INSECURE=1``: for the test suites of SDKs, on this machine alone."""

    def test_it_is_off(self) -> None:
        """Secure by default."""
        assert read().insecure is False

    def test_any_secret_will_do(self) -> None:
        """The suites' is ``secret``; the embedded issuer needs no prefix either."""
        settings = read(INSECURE="1", HMAC_SECRET="secret")

        assert settings.insecure
        assert len(settings.issuers) == 1

    def test_no_issuer_is_needed(self) -> None:
        """Nobody needs a token."""
        assert read(INSECURE="1", ISSUERS="[]").insecure

    @pytest.mark.parametrize("name", ["BIND", "INTERNAL_BIND"])
    @pytest.mark.parametrize(
        "address",
        ["0.0.0.0:1", "[::]:1", "192.168.1.1:1", "gateway:1", "127.0.0.1:1,10.0.0.1:1"],
    )
    def test_listener_that_others_reach_stops_the_start(self, name: str, address: str) -> None:
        """A name may be any address tomorrow."""
        line = refusal(INSECURE="1", **{name: address})

        assert line.startswith(f"GATEWAY_INSECURE: not with GATEWAY_{name} on ")

    @pytest.mark.parametrize("address", ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1"])
    def test_loopback_is_good(self, address: str) -> None:
        """All of it."""
        assert read(INSECURE="1", BIND=address, INTERNAL_BIND=address).insecure


class TestRevocations:
    """Where issuers say what they have revoked, and what reading it takes."""

    KEY = "k" * 32

    @staticmethod
    def issuers(*logs: object) -> str:
        """Return ``GATEWAY_ISSUERS`` with these logs."""
        entries = [
            {
                "issuer": f"https://{number}.example",
                "jwks_url": "https://a.example/k",
                "audience": "us",
                "user_prefix": str(number),
                "revocations": log,
            }
            for number, log in enumerate(logs)
        ]
        return json.dumps(entries)

    def test_none_are_read_unless_it_is_said_where(self) -> None:
        """Any provider of tokens will do; few have such a log."""
        settings = read()

        assert [entry.revocations for entry in settings.issuers] == [None]
        assert settings.revocation_stale_seconds == 10

    def test_redis_and_url_go_together(self) -> None:
        """Each issuer has its own."""
        logs = ("redis", "http://127.0.0.1:9001/revocations", None)

        settings = read(
            ISSUERS=self.issuers(*logs), REDIS_URL="redis://host", REVOCATIONS_KEY=self.KEY
        )

        assert tuple(entry.revocations for entry in settings.issuers) == logs

    @pytest.mark.parametrize(
        "log", ["Redis", "redis://host", "ftp://a.example", "http://", "https://u:p@a.example", ""]
    )
    def test_other_places_are_refused(self, log: str) -> None:
        """With the names of variable and member, and not the value, which may hold a password."""
        line = refusal(ISSUERS=self.issuers(log), REDIS_URL="redis://h", REVOCATIONS_KEY=self.KEY)

        assert line == (
            "GATEWAY_ISSUERS: revocations: must be 'redis', or an http(s) URL without a password"
        )

    def test_redis_needs_a_redis(self) -> None:
        """Else nothing would ever be read."""
        line = refusal(ISSUERS=self.issuers("redis"))

        assert line == "GATEWAY_REDIS_URL: needed, an issuer's revocations are there"

    def test_url_needs_a_key(self) -> None:
        """The issuer would not answer."""
        line = refusal(ISSUERS=self.issuers("https://a.example/r"))

        assert line == "GATEWAY_REVOCATIONS_KEY: needed, an issuer's revocations are at a URL"

    def test_two_issuers_cannot_share_a_log(self) -> None:
        """What one revokes would end sessions of the other."""
        line = refusal(ISSUERS=self.issuers("redis", "redis"), REDIS_URL="redis://host")

        assert line == "GATEWAY_ISSUERS: each issuer needs revocations of its own"

    @pytest.mark.parametrize("key", ["k" * 31, "é" * 32, "k" * 31 + " x", "k" * 32 + "\n\x00"])
    def test_weak_or_unsendable_key_is_refused(self, key: str) -> None:
        """It is a header's value; the line does not show it."""
        line = refusal(REVOCATIONS_KEY=key)

        assert line.startswith("GATEWAY_REVOCATIONS_KEY: must be at least 32 printable")
        assert key not in line

    def test_key_may_come_from_a_file(self, tmp_path: Path) -> None:
        """As secrets are mounted, and is not shown."""
        path = tmp_path / "key"
        path.write_text(self.KEY + "\n")

        settings = read(REVOCATIONS_KEY_FILE=str(path))

        assert settings == read(REVOCATIONS_KEY=self.KEY)
        assert self.KEY not in f"{settings!r} {settings.model_dump_json()}"

    @pytest.mark.parametrize("seconds", ["0", "1.9", "3601", "nan"])
    def test_stale_time_has_bounds(self, seconds: str) -> None:
        """Below two seconds every breath of the network would shut the door."""
        assert refusal(REVOCATION_STALE_SECONDS=seconds).startswith(
            "GATEWAY_REVOCATION_STALE_SECONDS: "
        )


class TestServerAPI:
    """``GATEWAY_API_*``, and who may use it."""

    def test_it_is_there_for_who_may(self) -> None:
        """The embedded token service's clients; without an issuer's scope and a key nobody."""
        plain = json.dumps([ENTRY])
        scoped = json.dumps([ENTRY | {"api_scope": "api"}])

        assert read().api
        assert not read(ISSUERS=plain).api
        assert read(ISSUERS=scoped).api
        assert read(ISSUERS=plain, API_KEY=LONG).api
        assert not read().api_public
        assert refusal(ISSUERS=plain, API_PUBLIC="1") == (
            "GATEWAY_API_PUBLIC: needs GATEWAY_API_KEY, or an issuer with an api_scope"
        )

    @pytest.mark.parametrize("key", ["k" * 31, "\xe9" * 32, "k" * 31 + " x"])
    def test_a_weak_key_is_refused_where_others_can_try_it(self, key: str) -> None:
        """The line does not show it."""
        open_to_all = {"INTERNAL_BIND": "0.0.0.0:9000", "API_KEY": key}

        line = refusal(**open_to_all)

        assert line.startswith("GATEWAY_API_KEY: must be at least 32 printable")
        assert key not in line
        public = refusal(API_KEY=key, API_PUBLIC="1", BIND="192.0.2.1:80")
        assert public.startswith("GATEWAY_API_KEY: must be ")

    def test_on_loopback_it_may_be_a_word(self) -> None:
        """As the suites of SDKs have it; it must still fit into a header."""
        assert read(API_KEY="api_key", API_PUBLIC="1", BIND="127.0.0.1:8000,[::1]:8000").api
        assert read(API_KEY="api_key", BIND="0.0.0.0:8080").api
        assert refusal(API_KEY="api key") == (
            "GATEWAY_API_KEY: must be printable ASCII without a blank"
        )

    def test_the_key_is_a_secret(self, tmp_path: Path) -> None:
        """From a file perhaps, and not shown."""
        path = tmp_path / "key"
        path.write_text(LONG + "\n")

        settings = read(API_KEY_FILE=str(path))

        assert settings == read(API_KEY=LONG)
        assert LONG not in f"{settings!r} {settings.model_dump_json()}"
