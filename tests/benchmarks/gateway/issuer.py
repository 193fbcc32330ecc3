"""An authorization server reduced to its key: the gateways' tokens, as many as a row needs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from typing_extensions import override

from tests.attacks.forge import Forge

KID = "bench"


class Issuer:
    """Signs access tokens with ES256, and serves its key.

    Args:
        directory: For the tokens' files.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files = 0
        self._forge = Forge(directory / "keys", "http://issuer.invalid")
        self._forge.kids["ES256"] = KID

    def tokens(self, count: int) -> Path:
        """Write so many tokens nobody has seen, each of a user of its own, one a line."""
        self._files += 1
        path = self._directory / f"tokens-{self._files}"
        stem = f"u{self._files}n"
        claims = {"exp": int(time.time()) + 7200}
        lines = [
            self._forge.token(sub=f"{stem}{n}", sid=f"{stem}{n}", jti=f"{stem}{n}", **claims)
            for n in range(count)
        ]
        path.write_text("\n".join(lines) + "\n", "ascii")
        return path

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve the key; gives the value of GATEWAY_ISSUERS."""
        public = self._forge.keys["ES256"].public_key().to_dict()
        document = json.dumps({"keys": [public | {"kid": KID, "alg": "ES256", "use": "sig"}]})

        class Answer(BaseHTTPRequestHandler):
            """Says the same to everyone."""

            def do_GET(self) -> None:
                """Answer."""
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(document)))
                self.end_headers()
                self.wfile.write(document.encode())

            @override
            def log_message(self, format: str, *args: object) -> None:
                """Keep the terminal for the figures."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        entry = {
            "issuer": self._forge.issuer,
            "jwks_url": f"http://127.0.0.1:{server.server_port}/jwks.json",
            "audience": "drawbridge",
        }
        try:
            yield json.dumps([entry])
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
