"""``python -m infra.deploy deploy | undeploy | secrets``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from infra.deploy import rollout, secrets
from infra.deploy.exceptions import DeployError
from infra.images import build, engine
from infra.images.exceptions import ImageError
from infra.stack.exceptions import StackError

EXIT_REFUSED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one order; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.deploy",
        description="The cluster of kubectl's context; REGISTRY, TAG, OVERLAY and BUILT count.",
    )
    parser.add_argument("order", choices=("deploy", "undeploy", "secrets"))
    order = parser.parse_args(arguments).order
    try:
        _run(order)
    except (DeployError, ImageError, StackError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_REFUSED
    return 0


def _run(order: str) -> None:
    if order == "secrets":
        sys.stdout.write(secrets.manifests())
        return
    overlay = rollout.overlay(os.environ.get("OVERLAY") or "production")
    if order == "undeploy":
        rollout.undeploy(rollout.find(), overlay)
        return
    for variable in ("REGISTRY", "TAG"):
        if not os.environ.get(variable):
            raise DeployError(f"{variable}: needed; the nodes pull REGISTRY/drawbridge/NAME:TAG")
    built = os.environ.get("BUILT") or ""
    if built not in {"", "1"}:
        raise DeployError("BUILT: must be 1, where the registry has these images already")
    names = build.names(os.environ)
    cluster = rollout.find()
    # Before minutes of building, and a quarter of an hour of waiting for pods that cannot start.
    rollout.require_secrets(cluster, overlay)
    if not built:
        found = engine.find()
        build.build(found, names, os.environ)
        build.push(found, names)
    rollout.deploy(cluster, overlay, names)


if __name__ == "__main__":
    sys.exit(main())
