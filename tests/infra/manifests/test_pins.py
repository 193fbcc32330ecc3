"""Digests: asked for at a registry of the tests' own, which speaks as the public ones do."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from typing_extensions import override

from infra.manifests import pins
from infra.manifests.exceptions import ManifestError

INDEX = json.dumps({"schemaVersion": 2, "manifests": [{"platform": {"architecture": "arm64"}}]})
DIGEST = f"sha256:{hashlib.sha256(INDEX.encode()).hexdigest()}"
OVERLAY = Path("k8s/overlays/production")


class Registry(BaseHTTPRequestHandler):
    """Knows one image, and shows it to whoever has fetched a token."""

    def do_GET(self) -> None:
        """Answer."""
        path, _, query = self.path.partition("?")
        if path == "/token":
            known = "service=here" in query and "scope=repository%3Ateam%2Fimage%3Apull" in query
            self._say(200, json.dumps({"token": "secret" if known else "other"}))
        elif self.headers.get("Authorization") != "Bearer secret":
            self._say(401, "{}")
        elif path == "/v2/team/image/manifests/1.0" and "image.index" in self.headers["Accept"]:
            self._say(200, INDEX)
        elif path == "/v2/team/page/manifests/1.0":
            self._say(200, "<html>")
        else:
            self._say(404, "{}")

    def _say(self, status: int, text: str) -> None:
        self.send_response(status)
        host = self.headers["Host"]
        challenge = f'realm="http://{host}/token",service="here",scope="repository:team/image:pull"'
        self.send_header("WWW-Authenticate", f"Bearer {challenge}")
        self.end_headers()
        self.wfile.write(text.encode())

    @override
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    """Serve it; its host and port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    """Return a copy of production's."""
    shutil.copytree(OVERLAY, tmp_path / "overlay")
    return tmp_path / "overlay"


def images(overlay: Path) -> dict[str, dict[str, str]]:
    """Read the list."""
    content = yaml.safe_load((overlay / "kustomization.yaml").read_text("utf-8"))
    return {entry["name"]: entry for entry in content["images"]}


def test_the_digest_is_that_of_what_is_shown(registry: str) -> None:
    """Of the index of all architectures, for one without an account."""
    assert pins.digest(f"{registry}/team/image", "1.0") == DIGEST


@pytest.mark.parametrize(
    ("image", "tag", "reason"),
    [("image", "2.0", "says 404"), ("page", "1.0", "does not answer"), ("x", "1", "says 404")],
)
def test_what_is_not_shown_has_none(registry: str, image: str, tag: str, reason: str) -> None:
    """Neither a page of a proxy in between nor an error is an image."""
    with pytest.raises(ManifestError, match=reason):
        pins.digest(f"{registry}/team/{image}", tag)


def test_nobody_there_has_none() -> None:
    """As on a machine without a network."""
    with pytest.raises(ManifestError, match="does not answer"):
        pins.digest("127.0.0.1:1/team/image", "1.0")


def test_all_images_of_others_are_asked_for() -> None:
    """Those of the components too, and none of ours."""
    found = pins.third_party(OVERLAY)

    assert {"redis", "postgres", "oliver006/redis_exporter", "nginxinc/nginx-unprivileged"} <= {
        *found
    }
    assert not {"auth-service", "ws-gateway", "nginx"} & {*found}
    assert all(found.values())


def test_digests_are_written_where_they_are_known(overlay: Path) -> None:
    """Tags and comments stay; what nobody shows stays as it was, in one line."""
    before, text = images(overlay), (overlay / "kustomization.yaml").read_text("utf-8")

    def ask(name: str, _: str) -> str:
        if name == "postgres":
            raise ManifestError("nobody answers")
        return DIGEST

    said = list(pins.pin(overlay, ask))

    after = images(overlay)
    assert after["redis"] == before["redis"] | {"digest": DIGEST}
    assert after["oliver006/redis_exporter"]["digest"] == DIGEST
    assert {name: after[name] for name in ("postgres", "nginx", "auth-service")} == {
        name: before[name] for name in ("postgres", "nginx", "auth-service")
    }
    assert said[-1] == f"Not pinned: postgres:{before['postgres']['newTag']} (nobody answers)"
    assert len(said) == len(pins.third_party(OVERLAY))
    kept = [line for line in text.splitlines() if line.lstrip().startswith("#")]
    now = (overlay / "kustomization.yaml").read_text("utf-8").splitlines()
    assert kept == [line for line in now if line.lstrip().startswith("#")]


def test_pinning_again_changes_the_digest_only(overlay: Path) -> None:
    """After a new version of an image."""
    file = overlay / "kustomization.yaml"
    list(pins.pin(overlay, lambda *_: DIGEST))
    first = file.read_text("utf-8")
    other = DIGEST[:-4] + "0000"

    list(pins.pin(overlay, lambda *_: other))

    assert file.read_text("utf-8") == first.replace(DIGEST, other)
