"""The Secrets of a production cluster, with passwords that nobody has read.

They are those of the dev overlay, each example in them replaced: so the same password is on both
ends of each arrow, and the rights of Redis' users are written in one place.
"""

from __future__ import annotations

import base64
import re
import secrets
from pathlib import Path
from typing import Any

import yaml

DEV = Path("k8s/overlays/dev")
_PASSWORD = re.compile(r"dev-only-\w+(?![\w-])")
_SEALING = "sealing-keys"
_KEY_BYTES = 32
_PASSWORD_BYTES = 24


def manifests(overlay: Path = DEV) -> str:
    """Write them as YAML for ``kubectl create -f -``; other ones at each call."""
    content = yaml.safe_load((overlay / "kustomization.yaml").read_text("utf-8"))
    drawn: dict[str, str] = {}

    def draw(match: re.Match[str]) -> str:
        return drawn.setdefault(match[0], secrets.token_hex(_PASSWORD_BYTES))

    documents = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": generator["name"], "namespace": content["namespace"]},
            "stringData": {
                key: _sealing_key() if key == _SEALING else _PASSWORD.sub(draw, text)
                for key, text in _entries(generator, overlay)
            },
        }
        for generator in content["secretGenerator"]
    ]
    return yaml.safe_dump_all(documents, sort_keys=False)


def _entries(generator: dict[str, Any], overlay: Path) -> list[tuple[str, str]]:
    literals = [literal.partition("=") for literal in generator.get("literals", [])]
    files = [(name, (overlay / name).read_text("utf-8")) for name in generator.get("files", [])]
    return [(key, text) for key, _, text in literals] + files


def _sealing_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES)).rstrip(b"=").decode()
