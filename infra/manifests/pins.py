"""Digests of other people's images, as their registries say, in an overlay's ``images:``.

A tag may be written anew; a digest is the image. Nothing is pinned that no registry has shown: the
digest is computed from the manifest itself.
"""

from __future__ import annotations

import hashlib
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import yaml

from infra.images.build import TARGETS
from infra.manifests.build import ROOT
from infra.manifests.exceptions import ManifestError

Ask = Callable[[str, str], str]
"""From an image's name and its tag to its digest; raises ManifestError."""
# Of all architectures first: the digest of a single one would not start on another.
_ACCEPTED = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_DOCKER = "registry-1.docker.io"
_SECONDS = 20
_MAX_BYTES = 4 * 1024 * 1024
_USED = re.compile(r"^\s*(?:- )?image: (\S+/\S+):([\w.-]+)$", re.MULTILINE)
_IMAGES = re.compile(r"^images:\n(?:[ #].*\n)+", re.MULTILINE)
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


def third_party(overlay: Path) -> dict[str, str]:
    """Return names and tags of the images that are not ours: the overlay's and the components'."""
    content = yaml.safe_load((overlay / "kustomization.yaml").read_text("utf-8"))
    found = {entry["name"]: str(entry.get("newTag", "")) for entry in content["images"]}
    for path in sorted((ROOT / "components").rglob("*.yaml")):
        found |= dict(_USED.findall(path.read_text("utf-8")))
    return {name: tag for name, tag in found.items() if name not in TARGETS and tag}


def pin(overlay: Path, ask: Ask) -> Iterator[str]:
    """Write the digests that can be had; yields a line for each, and one for all others.

    Args:
        overlay: Its directory.
        ask: Whom.
    """
    file = overlay / "kustomization.yaml"
    text = file.read_text("utf-8")
    missing: dict[str, str] = {}
    for name, tag in third_party(overlay).items():
        try:
            digest = ask(name, tag)
        except ManifestError as error:
            missing[f"{name}:{tag}"] = str(error)
            continue
        text = written(text, name, tag, digest)
        yield f"{name}:{tag}  {digest}"
    file.write_text(text, "utf-8")
    if missing:
        reasons = ", ".join(f"{image} ({reason})" for image, reason in missing.items())
        yield f"Not pinned: {reasons}"


def written(text: str, name: str, tag: str, digest: str) -> str:
    """Return a kustomization with a digest in its ``images:``; all else stays as it is written."""
    match = _IMAGES.search(text)
    if match is None:
        raise ManifestError("the overlay has no images:")
    quoted = f'"{tag}"' if re.fullmatch(r"[\d.]+", tag) else tag
    entry = f"  - name: {name}\n    newTag: {quoted}\n    digest: {digest}\n"
    before = re.compile(rf"^  - name: {re.escape(name)}\n(?:    .*\n)*", re.MULTILINE)
    block = match[0]
    changed = before.sub(entry, block) if before.search(block) else block + entry
    return text[: match.start()] + changed + text[match.end() :]


def digest(name: str, tag: str) -> str:
    """Ask an image's registry, as one who has no account.

    Raises:
        ManifestError: It does not answer, does not know the image, or does not show it.
    """
    host, repository = _address(name)
    # A registry on this machine is somebody's own; all others have a certificate.
    scheme = "http" if re.match(r"(localhost|127\.0\.0\.1|\[::1\])(:|$)", host) else "https"
    url = f"{scheme}://{host}/v2/{repository}/manifests/{tag}"
    try:
        body = _manifest(url)
    except urllib.error.HTTPError as error:
        raise ManifestError(f"{host} says {error.code}") from None
    except (OSError, ValueError, KeyError):
        raise ManifestError(f"{host} does not answer") from None
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def _address(name: str) -> tuple[str, str]:
    host, slash, rest = name.partition("/")
    if slash and (host == "localhost" or set(".:") & set(host)):
        return host, rest
    return _DOCKER, name if slash else f"library/{name}"


def _manifest(url: str) -> bytes:
    headers = {"Accept": ", ".join(_ACCEPTED)}
    try:
        body = _get(url, headers)
    except urllib.error.HTTPError as error:
        challenge = error.headers.get("WWW-Authenticate", "")
        if error.code != HTTPStatus.UNAUTHORIZED or not challenge.startswith("Bearer "):
            raise
        body = _get(url, headers, authorization=f"Bearer {_token(url, challenge)}")
    if "schemaVersion" not in json.loads(body):
        raise ValueError("no manifest")
    return body


def _token(url: str, challenge: str) -> str:
    """Fetch what a registry asks even those for who have no account."""
    asked = dict(_PARAMETER.findall(challenge))
    realm = asked.pop("realm")
    if not realm.startswith(("https://", url.partition("/v2/")[0])):
        raise ValueError("a realm that is not safe")
    query = urllib.parse.urlencode(
        {key: asked[key] for key in ("service", "scope") if key in asked}
    )
    answer: dict[str, Any] = json.loads(_get(f"{realm}?{query}", {}))
    return str(answer.get("token") or answer["access_token"])


def _get(url: str, headers: Mapping[str, str], authorization: str = "") -> bytes:
    request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310 - see digest()
    if authorization:
        # Not for whom it redirects to.
        request.add_unredirected_header("Authorization", authorization)
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310 - as above
        body: bytes = answer.read(_MAX_BYTES)
    return body
