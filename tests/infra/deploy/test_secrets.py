"""The Secrets of production: complete, consistent, and nobody's example."""

from __future__ import annotations

import json
import re
from urllib.parse import urlsplit

import pytest
import yaml

from auth_service.sealing import parse_keys
from auth_service.settings import Settings
from infra.deploy.secrets import manifests
from infra.manifests.checks import SECRETS


@pytest.fixture
def secrets() -> dict[str, dict[str, str]]:
    """What was made, by the name of the Secret."""
    documents = list(yaml.safe_load_all(manifests()))
    assert {document["metadata"]["namespace"] for document in documents} == {"drawbridge"}
    return {document["metadata"]["name"]: document["stringData"] for document in documents}


def password(url: str) -> str | None:
    """Return the password in an address."""
    return urlsplit(url).password


def test_all_are_there_but_the_certificate(secrets: dict[str, dict[str, str]]) -> None:
    """Which comes from an authority; and what sentinels need is made by those who choose them."""
    made = {name: frozenset(keys) for name, keys in secrets.items()}

    others = {"nginx-tls", "redis-sentinel"}
    assert made == {name: keys for name, keys in SECRETS.items() if name not in others}


def test_both_ends_of_an_arrow_know_one_password(secrets: dict[str, dict[str, str]]) -> None:
    """Else the first start would be the last."""
    auth, migrate, postgres = secrets["auth-service"], secrets["migrate"], secrets["postgres"]
    users = dict(re.findall(r"^user (\S+) on >(\S+)", secrets["redis"]["users.acl"], re.MULTILINE))

    assert password(auth["database-url"]) == postgres["service-password"]
    assert password(migrate["database-url"]) == postgres["owner-password"]
    assert password(auth["redis-url"]) == users["drawbridge-auth"]
    assert password(secrets["ws-gateway"]["redis-url"]) == users["drawbridge-gateway"]
    watcher = secrets["redis-exporter"]["passwords.json"]
    assert json.loads(watcher) == {
        "redis://drawbridge-metrics@redis:6379": users["drawbridge-metrics"]
    }
    assert secrets["postgres-exporter"]["password"] == postgres["metrics-password"]
    # Whoever learns one of them knows one.
    assert len({*postgres.values(), *users.values()}) == 6


def test_production_takes_them(secrets: dict[str, dict[str, str]]) -> None:
    """None is an example, and the key is one."""
    auth = secrets["auth-service"]
    settings = Settings.from_environment(
        {
            "AUTH_ENVIRONMENT": "production",
            "AUTH_ISSUER": "https://drawbridge.example",
            "AUTH_DATABASE_URL": auth["database-url"],
            "AUTH_REDIS_URL": auth["redis-url"],
            "AUTH_SEALING_KEYS": auth["sealing-keys"],
        }
    )

    assert len(parse_keys(settings.sealing_keys)) == 1
    assert "dev-only" not in str(secrets)


def test_others_are_drawn_each_time() -> None:
    """Nothing of them is kept here."""
    assert manifests() != manifests()
