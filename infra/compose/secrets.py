"""The secrets of the containers: those of a cluster, each key as a file.

The directory is for its owner only. The files in it are readable for all, because an engine mounts
them as they are, and in the containers other users read them.
"""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

import yaml

from infra.deploy.secrets import manifests
from infra.embedded import certificate
from infra.embedded.local_directory import LocalDirectory

_READABLE = 0o444
_GRAFANA = "grafana"
# Who is in a container finds it by this.
_FRONT = "nginx"
_PASSWORD_BYTES = 24


def ensure(directory: Path) -> bool:
    """Draw all secrets, unless they are there: the databases were made with those.

    Args:
        directory: Gets ``SECRET/KEY`` for each; beside it ``ca.pem``, which clients trust. The
            certificate is renewed when it is about to expire.

    Returns:
        Whether new ones were drawn.

    Raises:
        ConfigurationError: The directory cannot be used.
    """
    certificates = LocalDirectory(str(directory.parent))
    certificates.make()
    certificate.ensure(certificates, names=[_FRONT])
    drawn = not directory.exists()
    if drawn:
        # Whole or not at all.
        draft = directory.with_suffix(".new")
        shutil.rmtree(draft, ignore_errors=True)
        for name, content in _drawn().items():
            _write(draft / name, content.encode())
        draft.rename(directory)
    for name, source in (
        ("tls.crt", certificate.SERVER),
        ("tls.key", certificate.KEY),
        ("ca.crt", certificate.CA),
    ):
        _write(directory / "nginx-tls" / name, certificates.path(source).read_bytes())
    return drawn


def _drawn() -> dict[str, str]:
    files = {
        f"{document['metadata']['name']}/{key}": text
        for document in yaml.safe_load_all(manifests())
        for key, text in document["stringData"].items()
    }
    return files | {f"{_GRAFANA}/admin-password": secrets.token_hex(_PASSWORD_BYTES)}


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    path.chmod(_READABLE)
