"""Each check accepts the manifests as they are, and rejects the mistake it is there for."""

from __future__ import annotations

import base64

import pytest

from infra.manifests import checks
from infra.manifests.checks import (
    ARROWS,
    CHECKS,
    TRIERS,
    WATCHERS,
    WATCHING,
    Check,
    problems,
)
from tests.infra.manifests.sample import Build, Spoil


def label(kind: str, name: str, value: str) -> Spoil:
    """Select by another label."""

    def spoil(build: Build) -> None:
        selector = build.get(kind, name)["spec"]["selector"]
        selector.get("matchLabels", selector)["app.kubernetes.io/name"] = value

    return spoil


def service_port(build: Build) -> None:
    """Have a Service ask for a port that the pods have not."""
    build.get("Service", "ws-gateway")["spec"]["ports"][1]["targetPort"] = "metrics"


def secret(build: Build) -> None:
    """Put a real password into a file."""
    content = {"redis-url": base64.b64encode(b"redis://:hunter2@redis").decode()}
    build.get("ConfigMap", "auth-service")["data"]["AUTH_ENVIRONMENT"] = "development"
    metadata = {"name": "ws-gateway", "namespace": "drawbridge"}
    build.all.append({"kind": "Secret", "metadata": metadata, "data": content})


def example_in_production(build: Build) -> None:
    """Put an example's password where production would read it."""
    content = {"redis-url": base64.b64encode(b"redis://:dev-only-x@redis").decode()}
    metadata = {"name": "ws-gateway", "namespace": "drawbridge"}
    build.all.append({"kind": "Secret", "metadata": metadata, "data": content})


def file_of_no_secret(build: Build) -> None:
    """Name a file that is not mounted."""
    data = build.get("ConfigMap", "auth-service")["data"]
    data["AUTH_REDIS_URL_FILE"] = "/run/secrets/drawbridge/redis"


def missing_upstream(build: Build) -> None:
    """Send clients to a Service that does not exist."""
    data = build.get("ConfigMap", "nginx-generated")["data"]
    data["ws-gateway.conf"] = "server gateway:8080;\n"


def open_policy(build: Build) -> None:
    """Let everybody speak to Redis."""
    rule = build.get("NetworkPolicy", "redis")["spec"]["ingress"][0]
    del rule["from"]


def either_instead_of_both(build: Build) -> None:
    """Make two peers out of one: any pod of a namespace, or those pods of any."""
    peers = build.get("NetworkPolicy", "postgres")["spec"]["ingress"][0]["from"]
    peers.append({"namespaceSelector": {}})


def policy_for_all(build: Build) -> None:
    """Add a policy that undoes the others."""
    spec = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]}
    metadata = {"name": "allow", "namespace": "drawbridge"}
    build.all.append({"kind": "NetworkPolicy", "metadata": metadata, "spec": spec})


def no_way_out(build: Build) -> None:
    """Forget that gateways fetch the key set."""
    build.get("NetworkPolicy", "ws-gateway")["spec"]["egress"].pop()


def forgotten_item(build: Build) -> None:
    """Mount all files but one."""
    sources = build.pod("nginx")["volumes"][0]["projected"]["sources"]
    sources[1]["configMap"]["items"].pop()


SPOILT: list[tuple[Check, Spoil]] = [
    (checks.selectors_select, label("Deployment", "auth-service", "auth")),
    (checks.selectors_select, label("Service", "ws-gateway", "gateway")),
    (checks.selectors_select, label("PodDisruptionBudget", "nginx", "front")),
    (checks.ports_exist, service_port),
    (checks.ports_exist, lambda b: b.main("nginx")["readinessProbe"]["httpGet"].update(port="x")),
    (checks.ports_exist, lambda b: b.main("ws-gateway").pop("startupProbe")),
    (checks.long_lived_pods_have_probes, lambda b: b.main("redis").pop("livenessProbe")),
    (checks.references_exist, lambda b: b.drop("ConfigMap", "channels")),
    (checks.references_exist, lambda b: b.drop("ServiceAccount", "migrate")),
    (checks.references_exist, lambda b: b.pod("postgres")["volumes"].pop()),
    (
        checks.references_exist,
        lambda b: b.pod("redis")["volumes"][1]["secret"].update(secretName="acl"),
    ),
    (checks.secret_files_exist, file_of_no_secret),
    (checks.generated_configuration_is_whole, forgotten_item),
    (checks.upstreams_are_services, missing_upstream),
    (
        checks.grace_is_long_enough,
        lambda b: b.get("ConfigMap", "ws-gateway")["data"].update(GATEWAY_DRAIN_SECONDS="70"),
    ),
    (
        checks.grace_is_long_enough,
        lambda b: b.pod("nginx").update(terminationGracePeriodSeconds=60),
    ),
    (checks.grace_is_long_enough, lambda b: b.main("auth-service").pop("lifecycle")),
    (
        checks.autoscalers_rule_alone,
        lambda b: b.get("Deployment", "ws-gateway")["spec"].update(replicas=3),
    ),
    (
        checks.autoscalers_rule_alone,
        lambda b: b.main("auth-service").update(name="service"),
    ),
    (
        checks.the_database_has_room,
        lambda b: b.get("ConfigMap", "auth-service")["data"].pop("AUTH_DATABASE_POOL"),
    ),
    (
        checks.the_database_has_room,
        lambda b: b.get("HorizontalPodAutoscaler", "auth-service")["spec"].update(maxReplicas=13),
    ),
    (
        checks.budgets_leave_somebody,
        lambda b: b.get("Deployment", "nginx")["spec"].update(replicas=1),
    ),
    (checks.images_have_a_version, lambda b: b.main("nginx").update(image="x/nginx:latest")),
    (checks.images_have_a_version, lambda b: b.main("nginx").update(image="x:5000/nginx")),
    (
        checks.images_have_a_version,
        lambda b: b.main("redis").update(image=f"redis@sha256:{'0' * 64}"),
    ),
    (checks.secrets_are_examples, secret),
    (checks.secrets_are_examples, example_in_production),
    (
        checks.pods_are_restricted,
        lambda b: b.main("migrate")["securityContext"].update(readOnlyRootFilesystem=False),
    ),
    (
        checks.pods_are_restricted,
        lambda b: b.pod("redis")["securityContext"].update(runAsUser=0),
    ),
    (
        checks.pods_are_restricted,
        lambda b: b.pod("nginx").update(automountServiceAccountToken=True),
    ),
    (
        checks.pods_are_restricted,
        lambda b: b.pod("auth-service")["initContainers"][0].pop("resources"),
    ),
    (
        checks.pods_are_restricted,
        lambda b: b.main("ws-gateway")["resources"]["limits"].update(cpu="1"),
    ),
    (checks.policies_are_the_picture, open_policy),
    (checks.policies_are_the_picture, either_instead_of_both),
    (checks.policies_are_the_picture, policy_for_all),
    (checks.policies_are_the_picture, no_way_out),
    (checks.policies_are_the_picture, lambda b: b.drop("NetworkPolicy", "default-deny")),
    (
        checks.policies_are_the_picture,
        lambda b: b.get("NetworkPolicy", "redis")["spec"]["ingress"][0]["ports"][0].update(
            port=6380
        ),
    ),
    (
        checks.policies_are_the_picture,
        lambda b: b.get("StatefulSet", "redis")["spec"].update(replicas=3),
    ),
    (
        checks.everything_is_in_one_namespace,
        lambda b: b.get("Service", "redis")["metadata"].update(namespace="default"),
    ),
    (
        checks.everything_is_in_one_namespace,
        lambda b: b.get("Namespace", "drawbridge")["metadata"].pop("labels"),
    ),
    (checks.workloads_are_the_picture, lambda b: b.drop("Job", "migrate")),
    (
        checks.redis_answers_pods,
        lambda b: b.get("ConfigMap", "redis")["data"].update({"redis.conf": "port 6379"}),
    ),
    (
        checks.stored_things_have_an_address,
        lambda b: b.get("Service", "postgres")["spec"].update(clusterIP="None"),
    ),
]


def drop_way_in(name: str) -> Spoil:
    """Forget the last that may speak to a pod."""
    return lambda build: build.get("NetworkPolicy", name)["spec"]["ingress"].pop()


SPOILT_WATCHED: list[tuple[Check, Spoil]] = [
    (checks.policies_are_the_picture, drop_way_in("redis")),
    (checks.policies_are_the_picture, drop_way_in("postgres")),
    (
        checks.policies_are_the_picture,
        lambda b: b.get("NetworkPolicy", "redis-exporter")["spec"].pop("egress"),
    ),
    (checks.monitors_reach_their_pods, drop_way_in("front-probe")),
    (checks.monitors_reach_their_pods, drop_way_in("ws-gateway")),
    (
        checks.monitors_reach_their_pods,
        lambda b: b.pod("nginx")["containers"][1]["ports"][0].update(name="numbers"),
    ),
    (
        checks.monitors_reach_their_pods,
        lambda b: b.get("PodMonitor", "redis")["spec"]["selector"]["matchLabels"].update(
            {"app.kubernetes.io/name": "exporter"}
        ),
    ),
    (
        checks.monitors_reach_their_pods,
        lambda b: b.get("NetworkPolicy", "postgres-exporter")["spec"]["ingress"][0]["ports"][
            0
        ].update(port=9188),
    ),
    (
        checks.pods_are_restricted,
        lambda b: b.pod("nginx")["containers"][1].pop("securityContext"),
    ),
    (checks.references_exist, lambda b: b.drop("ConfigMap", "front-probe")),
    (
        checks.secret_files_exist,
        lambda b: b.main("redis-exporter")["env"][0].update(value="/run/secrets/passwords"),
    ),
    (checks.workloads_are_the_picture, lambda b: b.drop("Deployment", "redis-exporter")),
    (
        checks.policies_are_the_picture,
        lambda b: b.get("NetworkPolicy", "canary")["spec"]["egress"].pop(),
    ),
    (checks.monitors_reach_their_pods, drop_way_in("canary")),
    (
        checks.secret_files_exist,
        lambda b: b.main("canary")["env"][1].update(value="/run/secrets/canary/secret"),
    ),
]


@pytest.mark.parametrize("watched", [False, True])
def test_the_manifests_are_right(*, watched: bool) -> None:
    """As they are in the repository."""
    assert problems(Build(watched=watched).documents) == []


@pytest.mark.parametrize(
    ("check", "spoil", "watched"),
    [
        *((check, spoil, False) for check, spoil in SPOILT),
        *((check, spoil, True) for check, spoil in SPOILT_WATCHED),
    ],
)
def test_a_mistake_is_found(check: Check, spoil: Spoil, *, watched: bool) -> None:
    """By the check that is there for it, which is content before."""
    build = Build(watched=watched)
    assert not list(check(build.documents))

    spoil(build)

    assert list(check(build.documents))


def test_each_check_has_a_mistake_that_it_finds() -> None:
    """One that finds nothing would look the same as one that works."""
    assert {check for check, _ in SPOILT + SPOILT_WATCHED} == set(CHECKS)


def test_the_picture_has_its_arrows() -> None:
    """Nobody from outside gets past nginx, and nobody but the services to what is stored."""
    assert {to for who, to in ARROWS if who == "world"} == {"nginx"}
    assert {who for who, to in ARROWS if to == "redis"} == {"auth-service", "ws-gateway"}
    # Who looks at the others is nobody's way to anything.
    assert not {to for _, to in WATCHING | ARROWS} & (WATCHERS | TRIERS)
    assert {who for who, to in ARROWS if to == "postgres"} == {"auth-service", "migrate"}
