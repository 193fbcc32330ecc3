"""``python -m infra.manifests check | write | pin``."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence

from infra.manifests import build, checks, edge, front, pins, rules, safety, schemas
from infra.manifests.exceptions import ManifestError

EXIT_WRONG = 1
_STYLED = (
    "k8s",
    "infra/compose",
    "infra/demo/kustomization.yaml",
    "infra/grafana/kustomization.yaml",
    "nginx/kustomization.yaml",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one order; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.manifests")
    parser.add_argument("order", choices=("check", "write", "pin"))
    order = parser.parse_args(arguments).order
    if order == "write":
        front.write_all()
        rules.write()
        return 0
    if order == "pin":
        for line in pins.pin(build.ROOT / "overlays" / "production", pins.digest):
            print(line, flush=True)
        return 0
    try:
        found = list(_check())
    except ManifestError as error:
        found = [str(error)]
    for line in found:
        sys.stderr.write(f"{line}\n")
    return EXIT_WRONG if found else 0


def _check() -> Iterator[str]:
    """Build everything and look at it; yields what is wrong."""
    if not _styled():
        yield "yamllint: see above"
    for variant in edge.VARIANTS:
        for line in edge.problems(variant, build.TARGET / "nginx" / variant):
            yield f"nginx/, {variant}: {line}"
    kustomize = build.find()
    if kustomize is None:
        print("Not built, because neither kubectl nor kustomize nor go is here.")
        return
    for name in build.OVERLAYS:
        text = build.build(kustomize, build.ROOT / "overlays" / name)
        yield from _look(name, text, ours=True)
    production = build.ROOT / "overlays" / "production"
    for component in build.OPTIONAL:
        directory = build.TARGET / f"production-{component}"
        build.with_components(production, [component], directory)
        # A Redis or a PostgreSQL from elsewhere is not in the picture.
        ours = not component.startswith("external-")
        yield from _look(directory.name, build.build(kustomize, directory), ours=ours)


def _look(name: str, text: str, *, ours: bool) -> Iterator[str]:
    build.TARGET.mkdir(parents=True, exist_ok=True)
    (build.TARGET / f"{name}.yaml").write_text(text, "utf-8")
    documents = build.read(text)
    wrong = list(schemas.problems(documents))
    wrong += checks.problems(documents, checks.CHECKS if ours else checks.WITHOUT_PICTURE)
    wrong += checks.problems(documents, safety.CHECKS)
    print(f"{name}: {len(documents.all)} documents, {len(wrong)} problems", flush=True)
    yield from (f"{name}: {line}" for line in wrong)


def _styled() -> bool:
    command = [sys.executable, "-m", "yamllint", "--strict", *_STYLED]
    return subprocess.run(command, check=False).returncode == 0  # noqa: S603 - our own words


if __name__ == "__main__":
    sys.exit(main())
