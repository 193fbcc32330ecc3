"""What one line too many would open, and what two files have to say alike.

These checks look at values, where ``checks`` looks whether documents fit together. Each takes a
build and yields a line for each thing that is wrong.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from auth_service import settings as auth_settings
from infra.canary import settings as canary_settings
from infra.manifests.checks import Check
from infra.manifests.documents import Documents
from ws_gateway import settings as gateway_settings

_FRONT = "nginx"
_ROLLED = ("nginx", "auth-service", "ws-gateway")
_SERVICE_PROBES = {
    "startupProbe": "/health/started",
    "readinessProbe": "/health/ready",
    # Never readiness: that would restart every pod whose database is away.
    "livenessProbe": "/health/live",
}
#: What each probe asks for.
PROBES: Mapping[str, Mapping[str, str]] = {
    "auth-service": _SERVICE_PROBES,
    "ws-gateway": _SERVICE_PROBES,
    "nginx": dict.fromkeys(_SERVICE_PROBES, "/health"),
}
#: A secret itself, where a file that has it should be named.
SECRET_VARIABLES = frozenset(
    {f"{auth_settings.PREFIX}{name.upper()}" for name in auth_settings.SECRETS}
    | {f"{gateway_settings.PREFIX}{name.upper()}" for name in gateway_settings.SECRETS}
    | {f"{canary_settings.PREFIX}{name.upper()}" for name in canary_settings.SECRETS}
)
#: Doors for a demonstration, a test or one's own machine.
DOORS = frozenset(
    {
        "AUTH_DEFAULT_CLIENT",
        "GATEWAY_INSECURE",
        "GATEWAY_API_PUBLIC",
        "GATEWAY_QUERY_TOKEN",
    }
)
_DNS_PORT = 53
_CLOSED = ("", "0", "false")


def only_the_front_is_outside(build: Documents) -> Iterator[str]:
    """Whatever else has an address of its own out there goes round nginx and the policies."""
    for name, service in build.of("Service").items():
        spec = service["spec"]
        outside = spec.get("type", "ClusterIP") != "ClusterIP" or spec.get("externalIPs")
        if outside and name != _FRONT:
            yield f"Service {name}: it can be reached from outside"
    for document in build.all:
        if document["kind"] in {"Ingress", "HTTPRoute", "Gateway"}:
            yield f"{document['kind']} {document['metadata']['name']}: a second way in"
    for workload in build.workloads.values():
        for container in workload.containers:
            if any("hostPort" in port for port in container.get("ports", [])):
                yield f"{workload.name}: {container['name']} takes a port of its node"


def names_are_all_that_everybody_may_ask_for(build: Documents) -> Iterator[str]:
    """The policy for DNS is every pod's, so it must not be a way to anything else."""
    policy = build.of("NetworkPolicy").get("allow-dns")
    if policy is None:
        return
    if policy["spec"]["policyTypes"] != ["Egress"]:
        yield "NetworkPolicy allow-dns: it is about more than the way out"
    for rule in policy["spec"]["egress"]:
        ports = rule.get("ports", [])
        if not ports or any(port.get("port") != _DNS_PORT or "endPort" in port for port in ports):
            yield "NetworkPolicy allow-dns: other ports than 53"
        peers = rule.get("to", [])
        if not peers or not all(_is_dns(peer) for peer in peers):
            yield "NetworkPolicy allow-dns: others than the cluster's DNS"


def _is_dns(peer: Mapping[str, Any]) -> bool:
    if "ipBlock" in peer:
        # A cache on the node itself has an address that leads nowhere else.
        return re.fullmatch(r"169\.254\.\d+\.\d+/32", peer["ipBlock"]["cidr"]) is not None
    labels = [
        peer.get(field, {}).get("matchLabels") for field in ("namespaceSelector", "podSelector")
    ]
    return labels == [{"kubernetes.io/metadata.name": "kube-system"}, {"k8s-app": "kube-dns"}]


def policies_name_single_ports(build: Documents) -> Iterator[str]:
    """A range ends wherever a typing error says."""
    for name, policy in build.of("NetworkPolicy").items():
        for direction in ("ingress", "egress"):
            for rule in policy["spec"].get(direction, []):
                if any("endPort" in port for port in rule.get("ports", [])):
                    yield f"NetworkPolicy {name}: a range of ports"


def probes_ask_what_they_are_for(build: Documents) -> Iterator[str]:
    """A liveness that asks for readiness restarts every pod when the database is away."""
    for workload in build.workloads.values():
        for kind, path in PROBES.get(workload.name, {}).items():
            asked = workload.main.get(kind, {}).get("httpGet", {}).get("path")
            if asked != path:
                yield f"{workload.name}: its {kind} asks {asked}, not {path}"


def nobody_goes_before_another_has_come(build: Documents) -> Iterator[str]:
    """With one pod, the default of a quarter is that pod."""
    for name in _ROLLED:
        deployment = build.of("Deployment").get(name)
        strategy = deployment["spec"].get("strategy", {}) if deployment else {}
        if deployment and strategy.get("rollingUpdate", {}).get("maxUnavailable") != 0:
            yield f"{name}: a rollout may take pods away before new ones are ready"


def a_second_apply_has_nothing_to_say(build: Documents) -> Iterator[str]:
    """Else kubectl sends a change that is none, and says "configured" where nothing is new."""
    for name, deployment in build.of("Deployment").items():
        strategy = deployment["spec"].get("strategy", {})
        if strategy and "type" not in strategy:
            yield f"{name}: the type of its strategy is left to the server"


def one_version_is_deployed(build: Documents) -> Iterator[str]:
    """The Job that makes the tables is of the service that uses them."""
    images = {
        container["image"]
        for workload in build.workloads.values()
        for container in workload.containers
        if workload.name in {"auth-service", "migrate"}
    }
    if len(images) > 1:
        yield f"auth-service and migrate: {', '.join(sorted(images))}"


def both_services_mean_one_issuer(build: Documents) -> Iterator[str]:
    """Their addresses are in two files; where they differ every token is refused."""
    auth, gateway = (_variables(build, name) for name in ("auth-service", "ws-gateway"))
    if not auth or not gateway:
        return
    issuers = json.loads(gateway.get("GATEWAY_ISSUERS", "[]"))
    issuer = auth.get("AUTH_ISSUER", "")
    if issuer not in [entry["issuer"] for entry in issuers]:
        yield f"GATEWAY_ISSUERS: none of them is AUTH_ISSUER, {issuer}"
    if issuer not in gateway.get("GATEWAY_ORIGINS", issuer).split(","):
        yield f"GATEWAY_ORIGINS: the page of {issuer} may not connect"
    services = {
        f"http://{name}:{port['port']}/"
        for name, service in build.of("Service").items()
        for port in service["spec"]["ports"]
    }
    for entry in issuers:
        inside = re.match(r"http://[^/]*/", entry["jwks_url"])
        if inside and inside[0] not in services:
            yield f"GATEWAY_ISSUERS: there is no Service {inside[0]}"


def secrets_are_files(build: Documents) -> Iterator[str]:
    """A variable is in the output of ``kubectl describe``, in crash reports and in children."""
    for workload in build.workloads.values():
        for container in workload.containers:
            where = f"{workload.name}, {container['name']}"
            for name in sorted(SECRET_VARIABLES & build.variables(container).keys()):
                yield f"{where}: {name} itself; {name}_FILE names a file"
            sources = [entry.get("valueFrom", {}) for entry in container.get("env", [])]
            if any("secretKeyRef" in source for source in sources):
                yield f"{where}: a variable from a Secret"
            if any("secretRef" in source for source in container.get("envFrom", [])):
                yield f"{where}: variables from a Secret"


def production_is_closed(build: Documents) -> Iterator[str]:
    """No door of the demonstration, and no channel for somebody whom nobody knows."""
    if _variables(build, "auth-service").get("AUTH_ENVIRONMENT") != "production":
        return
    for workload in build.workloads.values():
        variables = build.configuration(workload)
        for name in sorted(DOORS & variables.keys()):
            if variables[name] not in _CLOSED:
                yield f"{workload.name}: {name} is set"
    for name, document in build.of("ConfigMap").items():
        for key, text in document["data"].items():
            if key.endswith(".toml"):
                yield from (f"{name}: {line}" for line in _open_channels(tomllib.loads(text)))


def _open_channels(channels: Mapping[str, Any]) -> Iterator[str]:
    if channels.get("client", {}).get("allow_anonymous_connect"):
        yield "guests may connect"
    nameless = channels.get("without_namespace", {})
    if nameless and "channel_regex" not in nameless:
        yield "without_namespace: any name is a channel"
    for name, options in (("", nameless), *channels.get("namespaces", {}).items()):
        for option, value in options.items():
            if option.endswith("_for_anonymous") and value:
                yield f"{name or 'without_namespace'}: {option}"


def the_database_is_spoken_to_alike(build: Documents) -> Iterator[str]:
    """Whoever opens it, its owner too, asks for the same encryption."""
    ways: dict[tuple[str, ...], list[str]] = {}
    for workload in build.workloads.values():
        for container in workload.containers:
            variables = build.variables(container)
            if "AUTH_DATABASE_URL_FILE" in variables:
                way = tuple(
                    variables.get(name, "") for name in ("AUTH_DATABASE_TLS", "PGSSLROOTCERT")
                )
                ways.setdefault(way, []).append(f"{workload.name}, {container['name']}")
    if len(ways) > 1:
        told = "; ".join(f"{' and '.join(who)}: {' '.join(way)}" for way, who in ways.items())
        yield f"AUTH_DATABASE_TLS differs: {told}"


def _variables(build: Documents, name: str) -> Mapping[str, str]:
    workload = build.workloads.get(name)
    return build.configuration(workload) if workload else {}


CHECKS: tuple[Check, ...] = (
    only_the_front_is_outside,
    names_are_all_that_everybody_may_ask_for,
    policies_name_single_ports,
    probes_ask_what_they_are_for,
    nobody_goes_before_another_has_come,
    a_second_apply_has_nothing_to_say,
    one_version_is_deployed,
    both_services_mean_one_issuer,
    secrets_are_files,
    production_is_closed,
    the_database_is_spoken_to_alike,
)
