"""What a schema does not see: whether the documents of one build fit together, and are ours.

Each check takes a build and yields a line for each thing that is wrong.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from infra.manifests.documents import Documents, Workload, references

#: The picture: who speaks to whom. ``world`` is whoever is outside.
ARROWS = frozenset(
    {
        ("world", "nginx"),
        ("nginx", "auth-service"),
        ("nginx", "ws-gateway"),
        ("ws-gateway", "auth-service"),
        ("ws-gateway", "redis"),
        ("auth-service", "redis"),
        ("auth-service", "postgres"),
        ("migrate", "postgres"),
    }
)
WORKLOADS = frozenset(name for arrow in ARROWS for name in arrow if name != "world")
#: Who looks for Prometheus, and at whom: all of them or none (components/monitoring).
WATCHING = frozenset(
    {("redis-exporter", "redis"), ("postgres-exporter", "postgres"), ("front-probe", "nginx")}
)
WATCHERS = frozenset(who for who, _ in WATCHING)
#: Who tries what clients do (components/canary), also through the world outside.
TRYING = frozenset({("canary", "nginx")})
TRIERS = frozenset(who for who, _ in TRYING)
#: Made by an operator before the first start; docs/kubernetes.md says how.
SECRETS: Mapping[str, frozenset[str]] = {
    "auth-service": frozenset({"database-url", "redis-url", "sealing-keys"}),
    "migrate": frozenset({"database-url"}),
    "ws-gateway": frozenset({"redis-url"}),
    "redis": frozenset({"users.acl"}),
    "redis-sentinel": frozenset(
        {"replication-password.conf", "sentinel-password", "sentinel-users.conf"}
    ),
    "postgres": frozenset({"owner-password", "service-password", "metrics-password"}),
    "redis-exporter": frozenset({"passwords.json"}),
    "postgres-exporter": frozenset({"password"}),
    "canary": frozenset({"password"}),
    "nginx-tls": frozenset({"tls.crt", "tls.key"}),
}
_NAME = "app.kubernetes.io/name"
_EXAMPLE = "dev-only-"
# What a process may need after its drain: seconds, with some to spare.
_FAREWELL_SECONDS = 15
# PostgreSQL's default, without those that it keeps for its superuser.
_DATABASE_CONNECTIONS = 97
_MONITORING = "monitoring"
_CLUSTER_WIDE = {"Namespace"}


def selectors_select(build: Documents) -> Iterator[str]:
    """A selector that matches nothing is no error anywhere, and nothing works."""
    for document in build.all:
        kind, name, spec = document["kind"], document["metadata"]["name"], document.get("spec", {})
        if kind in {"Deployment", "StatefulSet"}:
            labels = spec["template"]["metadata"].get("labels", {})
            if not spec["selector"]["matchLabels"].items() <= labels.items():
                yield f"{kind} {name}: its selector does not match its own pods"
        elif kind == "Service" and len(build.selected(spec["selector"])) != 1:
            yield f"Service {name}: its selector does not match one workload"
        elif kind == "PodDisruptionBudget":
            if len(build.selected(spec["selector"]["matchLabels"])) != 1:
                yield f"PodDisruptionBudget {name}: its selector does not match one workload"
        elif kind == "ServiceMonitor":
            wanted = spec["selector"]["matchLabels"].items()
            services = build.of("Service").values()
            if not any(wanted <= item["metadata"]["labels"].items() for item in services):
                yield f"ServiceMonitor {name}: no Service has its labels"


def ports_exist(build: Documents) -> Iterator[str]:
    """Services and probes name ports of the pods, and nothing else."""
    for name, service in build.of("Service").items():
        for workload in build.selected(service["spec"]["selector"]):
            for port in service["spec"]["ports"]:
                if port["targetPort"] not in workload.ports:
                    yield f"Service {name}: {workload.name} has no port {port['targetPort']}"
    for workload in build.workloads.values():
        for container in workload.pod["containers"]:
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                probe = container.get(kind)
                if probe is None and "livenessProbe" in container:
                    yield f"{workload.name}: no {kind}"
                for way in ("httpGet", "tcpSocket"):
                    port = (probe or {}).get(way, {}).get("port", None)
                    if port is not None and port not in workload.ports:
                        yield f"{workload.name}: its {kind} asks port {port}, which it has not"


def long_lived_pods_have_probes(build: Documents) -> Iterator[str]:
    """Without them a pod counts as ready at once and as healthy for ever."""
    for workload in build.workloads.values():
        if workload.document["kind"] != "Job" and "livenessProbe" not in workload.main:
            yield f"{workload.name}: no livenessProbe"


def references_exist(build: Documents) -> Iterator[str]:
    """What a pod mounts or reads is in the build, or a Secret that the operator makes."""
    for workload in build.workloads.values():
        for kind, name, keys in references(workload):
            known = build.of(kind).get(name)
            if known is not None:
                there = {*known.get("data", {}), *known.get("stringData", {})}
                if missing := keys - there:
                    yield f"{workload.name}: {kind} {name} has no {', '.join(sorted(missing))}"
            elif kind != "Secret" or name not in SECRETS:
                yield f"{workload.name}: there is no {kind} {name}"
        mounts = {
            mount["name"]
            for container in workload.containers
            for mount in container.get("volumeMounts", [])
        }
        claims = workload.document["spec"].get("volumeClaimTemplates", [])
        there = {*workload.volumes, *(claim["metadata"]["name"] for claim in claims)}
        for name in sorted(mounts ^ there):
            yield f"{workload.name}: volume {name} is not both there and mounted"


def secret_files_exist(build: Documents) -> Iterator[str]:
    """A variable that names a file names one of a Secret that is mounted there."""
    for workload in build.workloads.values():
        secrets = {
            mount["mountPath"]: workload.volumes[mount["name"]]["secret"]["secretName"]
            for mount in workload.main.get("volumeMounts", [])
            if "secret" in workload.volumes.get(mount["name"], {})
        }
        for variable, value in build.configuration(workload).items():
            if not variable.endswith("_FILE") or not value.startswith("/run/secrets/"):
                continue
            directory, _, key = value.rpartition("/")
            if key not in SECRETS.get(secrets.get(directory, ""), frozenset()):
                yield f"{workload.name}: {variable} names {value}, which no Secret has"


def generated_configuration_is_whole(build: Documents) -> Iterator[str]:
    """Each file of nginx' ConfigMaps is mounted, for an include of a missing one stops it."""
    nginx = build.workloads.get("nginx")
    if nginx is None:
        return
    for source in nginx.volumes["configuration"]["projected"]["sources"]:
        name = source["configMap"]["name"]
        mounted = {item["key"] for item in source["configMap"]["items"]}
        forgotten = set(build.of("ConfigMap").get(name, {}).get("data", {})) - mounted
        for key in sorted(forgotten):
            yield f"nginx: {key} of ConfigMap {name} is not mounted"


def upstreams_are_services(build: Documents) -> Iterator[str]:
    """A host of nginx' configuration is a Service, with that port; its picture is ours too."""
    services = {
        f"{name}:{port['port']}"
        for name, service in build.of("Service").items()
        for port in service["spec"]["ports"]
    }
    found = set()
    for name, document in build.of("ConfigMap").items():
        if name.startswith("nginx-generated"):
            for text in document["data"].values():
                found |= set(re.findall(r"^server (\S+)", text, re.MULTILINE))
    # nginx' own resolver wants the whole name of the cluster's DNS.
    short = {re.sub(r"\.[\w-]+\.svc\.cluster\.local:", ":", address) for address in found}
    for address in sorted(short - services):
        yield f"nginx: there is no Service {address}"
    known = build.of("Service")
    served = {
        workload.name
        for name in {address.partition(":")[0] for address in short} & known.keys()
        for workload in build.selected(known[name]["spec"]["selector"])
    }
    if served != {to for who, to in ARROWS if who == "nginx"}:
        yield f"nginx: its upstreams are {', '.join(sorted(served))}"


def grace_is_long_enough(build: Documents) -> Iterator[str]:
    """The time between the order to stop and the kill is that of everything in between."""
    for workload in build.workloads.values():
        sleep = workload.main.get("lifecycle", {}).get("preStop", {}).get("sleep", {})
        watches = workload.name in WATCHERS | TRIERS
        served = workload.document["kind"] == "Deployment" and not watches
        if served and not sleep.get("seconds"):
            yield f"{workload.name}: no preStop, so that it stops while it is still sent clients"
        needed = sleep.get("seconds", 0) + _goodbye_seconds(build, workload)
        grace = workload.pod.get("terminationGracePeriodSeconds", 30)
        if workload.document["kind"] != "Job" and grace < needed + _FAREWELL_SECONDS:
            yield f"{workload.name}: {grace} s of grace, and it may need {needed:g} + 15"


def _goodbye_seconds(build: Documents, workload: Workload) -> float:
    if workload.name == "ws-gateway":
        return float(build.configuration(workload).get("GATEWAY_DRAIN_SECONDS", 20))
    if workload.name == "nginx":
        texts = [text for item in build.of("ConfigMap").values() for text in item["data"].values()]
        (found,) = re.findall(r"^worker_shutdown_timeout (\d+)s;", "\n".join(texts), re.MULTILINE)
        return float(found)
    return 0


def autoscalers_rule_alone(build: Documents) -> Iterator[str]:
    """A Deployment with both a number and an autoscaler is reset by each apply."""
    for name, scaler in build.of("HorizontalPodAutoscaler").items():
        target = build.of("Deployment").get(scaler["spec"]["scaleTargetRef"]["name"])
        if target is None:
            yield f"HorizontalPodAutoscaler {name}: its Deployment does not exist"
            continue
        if "replicas" in target["spec"]:
            yield f"HorizontalPodAutoscaler {name}: its Deployment has replicas of its own"
        containers = {item["name"] for item in target["spec"]["template"]["spec"]["containers"]}
        for metric in scaler["spec"]["metrics"]:
            named = metric.get("containerResource", {}).get("container")
            if named is not None and named not in containers:
                yield f"HorizontalPodAutoscaler {name}: there is no container {named}"


def the_database_has_room(build: Documents) -> Iterator[str]:
    """As many pods as the autoscaler may start, and one more in a rollout, find connections."""
    scaler = build.of("HorizontalPodAutoscaler").get("auth-service")
    workload = build.workloads.get("auth-service")
    if scaler is None or workload is None:
        return
    words = workload.main["args"]
    processes = int(words[words.index("--workers") + 1])
    # What the service takes unless it is told.
    pool = int(build.configuration(workload).get("AUTH_DATABASE_POOL", 8))
    wanted = (scaler["spec"]["maxReplicas"] + 1) * processes * pool
    if wanted > _DATABASE_CONNECTIONS:
        yield f"auth-service: it may want {wanted} connections, and PostgreSQL has 100, 3 its own"


def budgets_leave_somebody(build: Documents) -> Iterator[str]:
    """A budget for a single pod lets it go, and nobody is left."""
    scalers = {
        scaler["spec"]["scaleTargetRef"]["name"]: scaler["spec"]["minReplicas"]
        for scaler in build.of("HorizontalPodAutoscaler").values()
    }
    for name, budget in build.of("PodDisruptionBudget").items():
        for workload in build.selected(budget["spec"]["selector"]["matchLabels"]):
            replicas = scalers.get(workload.name, workload.document["spec"].get("replicas", 1))
            if budget["spec"]["maxUnavailable"] >= replicas:
                yield f"PodDisruptionBudget {name}: there are only {replicas} pods"


def images_have_a_version(build: Documents) -> Iterator[str]:
    """What runs is what was tested."""
    for workload in build.workloads.values():
        for container in workload.containers:
            # A digest says which image, and to nobody which version.
            name, _, tag = container["image"].partition("@")[0].rpartition(":")
            if not name or "/" in tag or tag == "latest":
                yield f"{workload.name}: the image {container['image']} has no version"


def secrets_are_examples(build: Documents) -> Iterator[str]:
    """A Secret in a file is known to everybody, so it has to be one that production refuses."""
    production = any(
        build.configuration(workload).get("AUTH_ENVIRONMENT") == "production"
        for workload in build.workloads.values()
    )
    for name, secret in build.of("Secret").items():
        if production:
            yield f"Secret {name}: production has none in its files"
        for key, content in secret.get("data", {}).items():
            text = base64.b64decode(content).decode()
            passwords = re.findall(r" >(\S+)", text) if key == "users.acl" else [text]
            if not passwords or not all(_EXAMPLE in password for password in passwords):
                yield f"Secret {name}: {key} has none of the passwords that production refuses"


def pods_are_restricted(build: Documents) -> Iterator[str]:
    """Pod Security "restricted", and a little more."""
    for workload in build.workloads.values():
        context = workload.pod.get("securityContext", {})
        wanted: dict[str, Any] = {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        if any(context.get(field) != value for field, value in wanted.items()):
            yield f"{workload.name}: the pod's securityContext is not restricted"
        if not context.get("runAsUser", 0):
            yield f"{workload.name}: its user is not a number, or is root"
        if workload.pod.get("automountServiceAccountToken") is not False:
            yield f"{workload.name}: it gets a token for the cluster's API"
        if workload.pod.get("enableServiceLinks") is not False:
            yield f"{workload.name}: it is told of every Service by variables"
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if workload.pod.get(field):
                yield f"{workload.name}: {field}"
        for volume in workload.volumes.values():
            if "hostPath" in volume:
                yield f"{workload.name}: hostPath"
        for container in workload.containers:
            yield from _container(workload.name, container)


def _container(workload: str, container: Mapping[str, Any]) -> Iterator[str]:
    name = f"{workload}, {container['name']}"
    wanted = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    if container.get("securityContext") != wanted:
        yield f"{name}: its securityContext is not restricted"
    resources = container.get("resources", {})
    if "memory" not in resources.get("limits", {}) or {"cpu", "memory"} - {
        *resources.get("requests", {})
    }:
        yield f"{name}: no limit of memory, or no requests"
    if "cpu" in resources.get("limits", {}):
        yield f"{name}: a limit of CPU would throttle it"


def policies_are_the_picture(build: Documents) -> Iterator[str]:
    """Every arrow has both ends, and there are no others."""
    policies = build.of("NetworkPolicy")
    if "default-deny" not in policies or policies["default-deny"]["spec"] != {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }:
        yield "NetworkPolicy default-deny: it is not there, or does not deny everything"
    ways_in, ways_out = set(), set()
    for name, policy in policies.items():
        labels = policy["spec"]["podSelector"].get("matchLabels")
        if labels is None:
            if name not in {"default-deny", "allow-dns"}:
                yield f"NetworkPolicy {name}: it is about every pod"
            continue
        if len(build.selected(labels)) != 1:
            yield f"NetworkPolicy {name}: it is not about one workload"
            continue
        (workload,) = build.selected(labels)
        ways_in |= set(_ends(build, policy, "ingress", workload))
        ways_out |= set(_ends(build, policy, "egress", workload))
    there = {*build.workloads, "world"}
    picture = {(who, to) for who, to in ARROWS | WATCHING | TRYING if {who, to} <= there}
    # Several that keep the same thing speak to each other.
    picture |= {
        (workload.name, workload.name)
        for workload in build.workloads.values()
        if workload.document["kind"] == "StatefulSet"
        and workload.document["spec"].get("replicas", 1) > 1
    }
    for who, to in sorted(picture ^ {(who, to) for who, to, _ in ways_in}):
        yield f"NetworkPolicy {to}: the way in from {who} is not as in the picture"
    inside = {(who, to) for who, to in picture if who != "world"}
    for who, to in sorted(inside ^ {(who, to) for who, to, _ in ways_out if to != "world"}):
        yield f"NetworkPolicy {who}: the way out to {to} is not as in the picture"
    for who, to, port in sorted(ways_in | ways_out):
        receiver = build.workloads.get(to)
        if receiver is not None and port not in receiver.ports.values():
            yield f"NetworkPolicy {who} -> {to}: nobody listens on {port}"


def _ends(
    build: Documents, policy: Mapping[str, Any], direction: str, workload: Workload
) -> Iterator[tuple[str, str, int]]:
    """Yield who may speak to whom, and on which port, as one policy says it of one workload."""
    field = "from" if direction == "ingress" else "to"
    for rule in policy["spec"].get(direction, []):
        # Without ports it means all of them.
        for port in rule.get("ports", [{"port": 0}]):
            for other in _others(build, rule.get(field)):
                ends = (other, workload.name) if direction == "ingress" else (workload.name, other)
                yield (*ends, port["port"])


def _others(build: Documents, peers: list[Mapping[str, Any]] | None) -> Iterator[str]:
    if peers is None:
        yield "world"
    for peer in peers or []:
        if "ipBlock" in peer:
            yield "world"
        elif "namespaceSelector" in peer:
            if not _is_monitoring(peer):
                yield "another namespace"
        else:
            labels = peer.get("podSelector", {}).get("matchLabels", {})
            found = build.selected(labels)
            yield from [workload.name for workload in found] or [str(labels.get(_NAME))]


def monitors_reach_their_pods(build: Documents) -> Iterator[str]:
    """What is scraped has that port, and lets Prometheus in there: else its alerts are silent."""
    found = [(item, "endpoints") for item in build.of("ServiceMonitor").values()]
    found += [(item, "podMetricsEndpoints") for item in build.of("PodMonitor").values()]
    for monitor, field in found:
        name = f"{monitor['kind']} {monitor['metadata']['name']}"
        pods = build.selected(monitor["spec"]["selector"]["matchLabels"])
        if len(pods) != 1:
            yield f"{name}: its selector does not match one workload"
        for workload in pods:
            for endpoint in monitor["spec"][field]:
                port = workload.ports.get(endpoint["port"])
                if port is None:
                    yield f"{name}: {workload.name} has no port {endpoint['port']}"
                elif port not in _open_to_prometheus(build, workload):
                    yield f"{name}: {workload.name} does not let Prometheus in on {port}"


def _open_to_prometheus(build: Documents, workload: Workload) -> set[int]:
    """Return the ports on which policies let the namespace of Prometheus in."""
    return {
        port["port"]
        for policy in build.of("NetworkPolicy").values()
        if workload in build.selected(policy["spec"]["podSelector"].get("matchLabels", {}))
        for rule in policy["spec"].get("ingress", [])
        for peer in rule.get("from", [])
        if _is_monitoring(peer)
        for port in rule.get("ports", [])
    }


def _is_monitoring(peer: Mapping[str, Any]) -> bool:
    labels = peer.get("namespaceSelector", {}).get("matchLabels", {})
    return bool(labels.get("kubernetes.io/metadata.name") == _MONITORING)


def redis_answers_pods(build: Documents) -> Iterator[str]:
    """A default user without a password has most builds answer their own host only."""
    if "redis" not in build.workloads:
        return
    texts = [
        text
        for name, item in build.of("ConfigMap").items()
        if name.partition("-")[0] == "redis"
        for text in item["data"].values()
    ]
    if not any(re.search(r"^protected-mode no$", text, re.MULTILINE) for text in texts):
        yield "redis: its protected mode refuses whoever is in another pod"


def stored_things_have_an_address(build: Documents) -> Iterator[str]:
    """A name that means the pod itself goes when it restarts, and caches keep the old one."""
    stored = {
        item.name
        for item in build.workloads.values()
        if "volumeClaimTemplates" in item.document["spec"]
    }
    for name in sorted(stored):
        service = build.of("Service").get(name)
        if service is None or service["spec"].get("clusterIP") == "None":
            yield f"{name}: its Service has no address of its own"


def everything_is_in_one_namespace(build: Documents) -> Iterator[str]:
    """And the namespace refuses whatever is not restricted."""
    (namespace, *others) = build.of("Namespace").values()
    if others:
        yield "there are several namespaces"
    labels = namespace["metadata"].get("labels", {})
    if labels.get("pod-security.kubernetes.io/enforce") != "restricted":
        yield "the namespace does not enforce restricted pods"
    for document in build.all:
        metadata = document["metadata"]
        if document["kind"] in _CLUSTER_WIDE:
            continue
        if metadata.get("namespace") != namespace["metadata"]["name"]:
            yield f"{document['kind']} {metadata['name']}: it is not in the namespace"


def workloads_are_the_picture(build: Documents) -> Iterator[str]:
    """Each node of the picture is there, under its name."""
    names = {*build.workloads}
    watched = WATCHERS if WATCHERS & names else frozenset()
    for name in sorted((WORKLOADS | watched) ^ (names - TRIERS)):
        yield f"{name}: it is in the picture or in the build, but not in both"
    for workload in build.workloads.values():
        if workload.labels.get(_NAME) != workload.name:
            yield f"{workload.name}: its pods are labelled {workload.labels.get(_NAME)}"


Check = Callable[[Documents], Iterator[str]]
CHECKS: tuple[Check, ...] = (
    selectors_select,
    ports_exist,
    long_lived_pods_have_probes,
    references_exist,
    secret_files_exist,
    generated_configuration_is_whole,
    upstreams_are_services,
    grace_is_long_enough,
    autoscalers_rule_alone,
    the_database_has_room,
    budgets_leave_somebody,
    images_have_a_version,
    secrets_are_examples,
    pods_are_restricted,
    policies_are_the_picture,
    monitors_reach_their_pods,
    redis_answers_pods,
    stored_things_have_an_address,
    everything_is_in_one_namespace,
    workloads_are_the_picture,
)
#: For builds in which somebody else's database or broker takes the place of ours.
WITHOUT_PICTURE = tuple(
    check for check in CHECKS if check not in {policies_are_the_picture, workloads_are_the_picture}
)


def problems(build: Documents, checks: tuple[Check, ...] = CHECKS) -> list[str]:
    """Return everything that is wrong with a build."""
    return [line for check in checks for line in check(build)]
