"""Each check accepts the manifests as they are, and rejects the line that would open something."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from infra.manifests import safety
from infra.manifests.checks import Check, problems
from infra.manifests.safety import CHECKS
from tests.infra.manifests.sample import Build, Spoil


def config(name: str, **variables: str) -> Spoil:
    """Set variables of a ConfigMap."""
    return lambda build: build.get("ConfigMap", name)["data"].update(variables)


def channels(text: str) -> Spoil:
    """Append to the channels."""

    def spoil(build: Build) -> None:
        data = build.get("ConfigMap", "channels")["data"]
        data["channels.toml"] += text

    return spoil


def replaced(name: str, key: str, old: str, new: str) -> Spoil:
    """Write something else into one variable of a ConfigMap."""

    def spoil(build: Build) -> None:
        data = build.get("ConfigMap", name)["data"]
        assert old in data[key]
        data[key] = data[key].replace(old, new)

    return spoil


def rule(build: Build) -> dict[str, Any]:
    """Return the rule about names."""
    found: dict[str, Any] = build.get("NetworkPolicy", "allow-dns")["spec"]["egress"][0]
    return found


def from_secret(build: Build) -> None:
    """Take a variable out of a Secret."""
    source = {"secretKeyRef": {"name": "ws-gateway", "key": "redis-url"}}
    build.main("ws-gateway").setdefault("env", []).append({"name": "X", "valueFrom": source})


def ingress(build: Build) -> None:
    """Add another door."""
    metadata = {"name": "door", "namespace": "drawbridge"}
    build.all.append({"kind": "Ingress", "metadata": metadata, "spec": {}})


SPOILT: list[tuple[Check, Spoil]] = [
    (
        safety.only_the_front_is_outside,
        lambda b: b.get("Service", "ws-gateway")["spec"].update(type="NodePort"),
    ),
    (
        safety.only_the_front_is_outside,
        lambda b: b.get("Service", "redis")["spec"].update(externalIPs=["192.0.2.1"]),
    ),
    (safety.only_the_front_is_outside, lambda b: b.main("nginx")["ports"][0].update(hostPort=443)),
    (safety.only_the_front_is_outside, ingress),
    (safety.names_are_all_that_everybody_may_ask_for, lambda b: rule(b).pop("ports")),
    (safety.names_are_all_that_everybody_may_ask_for, lambda b: rule(b).pop("to")),
    (
        safety.names_are_all_that_everybody_may_ask_for,
        lambda b: rule(b)["to"][0].pop("podSelector"),
    ),
    (
        safety.names_are_all_that_everybody_may_ask_for,
        lambda b: rule(b)["to"].append({"ipBlock": {"cidr": "0.0.0.0/0"}}),
    ),
    (
        safety.names_are_all_that_everybody_may_ask_for,
        lambda b: rule(b)["ports"].append({"port": 443, "protocol": "TCP"}),
    ),
    (
        safety.names_are_all_that_everybody_may_ask_for,
        lambda b: b.get("NetworkPolicy", "allow-dns")["spec"]["policyTypes"].append("Ingress"),
    ),
    (
        safety.policies_name_single_ports,
        lambda b: b.get("NetworkPolicy", "redis")["spec"]["ingress"][0]["ports"][0].update(
            endPort=65535
        ),
    ),
    (
        safety.probes_ask_what_they_are_for,
        lambda b: b.main("ws-gateway")["livenessProbe"]["httpGet"].update(path="/health/ready"),
    ),
    (
        safety.probes_ask_what_they_are_for,
        lambda b: b.main("nginx")["readinessProbe"]["httpGet"].update(path="/"),
    ),
    (
        safety.nobody_goes_before_another_has_come,
        lambda b: b.get("Deployment", "ws-gateway")["spec"].pop("strategy"),
    ),
    (
        safety.nobody_goes_before_another_has_come,
        lambda b: b.get("Deployment", "nginx")["spec"].update(strategy={"type": "Recreate"}),
    ),
    (
        safety.a_second_apply_has_nothing_to_say,
        lambda b: b.get("Deployment", "nginx")["spec"]["strategy"].pop("type"),
    ),
    (safety.one_version_is_deployed, lambda b: b.main("migrate").update(image="a:2")),
    (safety.both_services_mean_one_issuer, config("auth-service", AUTH_ISSUER="https://a.example")),
    (
        safety.both_services_mean_one_issuer,
        config("ws-gateway", GATEWAY_ORIGINS="https://a.example"),
    ),
    (
        safety.both_services_mean_one_issuer,
        replaced("ws-gateway", "GATEWAY_ISSUERS", "auth-service:8080", "auth:8080"),
    ),
    (safety.secrets_are_files, config("ws-gateway", GATEWAY_REDIS_URL="redis://:hunter2@redis")),
    (safety.secrets_are_files, from_secret),
    (
        safety.secrets_are_files,
        lambda b: b.main("auth-service")["envFrom"].append({"secretRef": {"name": "auth-service"}}),
    ),
    (safety.production_is_closed, config("ws-gateway", GATEWAY_API_PUBLIC="1")),
    (safety.production_is_closed, config("auth-service", AUTH_DEFAULT_CLIENT="chat")),
    (safety.production_is_closed, channels("[without_namespace]\npresence = true\n")),
    (
        safety.production_is_closed,
        channels("[namespaces.hall]\nallow_subscribe_for_anonymous = true\n"),
    ),
    (
        safety.production_is_closed,
        replaced(
            "channels", "channels.toml", "[client]\n", "[client]\nallow_anonymous_connect = true\n"
        ),
    ),
    (
        safety.the_database_is_spoken_to_alike,
        config("auth-service", AUTH_DATABASE_TLS="verify-full"),
    ),
]


def test_the_manifests_are_right() -> None:
    """As they are in the repository."""
    assert problems(Build().documents, CHECKS) == []


@pytest.mark.parametrize(("check", "spoil"), SPOILT)
def test_a_mistake_is_found(check: Check, spoil: Spoil) -> None:
    """By the check that is there for it."""
    build = Build()

    spoil(build)

    assert list(check(build.documents))


def test_each_check_has_a_mistake_that_it_finds() -> None:
    """One that finds nothing would look the same as one that works."""
    assert {check for check, _ in SPOILT} == set(CHECKS)


def test_a_demonstration_may_be_open() -> None:
    """Where it says so."""
    build = Build()
    config("auth-service", AUTH_ENVIRONMENT="development", AUTH_DEFAULT_CLIENT="chat")(build)
    # What such a build has besides, and production has not.
    content = {"key": base64.b64encode(b"dev-only-x").decode()}
    build.all.append({"kind": "Secret", "metadata": {"name": "x"}, "data": content})

    assert problems(build.documents, CHECKS) == []


def test_a_cache_of_names_on_the_node_is_fine() -> None:
    """Its address leads nowhere else."""
    build = Build()
    rule(build)["to"].append({"ipBlock": {"cidr": "169.254.20.10/32"}})

    assert problems(build.documents, CHECKS) == []
