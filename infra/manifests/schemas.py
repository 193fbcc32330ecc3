"""Whether the documents are what Kubernetes' own schemas allow, for several of its versions."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from infra.manifests.documents import Documents

VERSIONS = ("1.32", "1.34", "1.36")
#: Kinds that an operator brings along; their schemas are not Kubernetes'.
FOREIGN = frozenset(
    {
        ("monitoring.coreos.com/v1", "ServiceMonitor"),
        ("monitoring.coreos.com/v1", "PodMonitor"),
        ("monitoring.coreos.com/v1", "PrometheusRule"),
        ("cert-manager.io/v1", "Certificate"),
    }
)


def problems(build: Documents, versions: tuple[str, ...] = VERSIONS) -> Iterator[str]:
    """Yield what a version of Kubernetes would refuse, unknown fields and kinds too."""
    # In an environment of its own, for it brings the schemas of many versions.
    import kubernetes_validate  # noqa: PLC0415

    for version in versions:
        for document in build.all:
            where = f"{version}, {document['kind']} {document['metadata']['name']}"
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.SchemaNotFoundError:
                if (document["apiVersion"], document["kind"]) not in FOREIGN:
                    yield f"{where}: there is no such kind"
            except kubernetes_validate.ValidationError as error:
                yield f"{where}: {error.message}"
