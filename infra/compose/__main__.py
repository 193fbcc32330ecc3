"""``python -m infra.compose``: draw the secrets of ``compose.yaml``, and say what to type."""

from __future__ import annotations

import sys
from pathlib import Path

from infra.compose import secrets
from ws_gateway.exceptions import ConfigurationError

EXIT_REFUSED = 1
DIRECTORY = Path(".local/compose/secrets")
_NEXT = """\
Secrets are in {directory}, and the certificate to trust is {authority}. Next:

docker compose -f infra/compose/compose.yaml up --detach --wait
docker compose -f infra/compose/compose.yaml exec auth-service \\
    python -m auth_service users add alice --generate
"""


def main(directory: Path = DIRECTORY) -> int:
    """Do it; returns the exit status."""
    try:
        secrets.ensure(directory)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_REFUSED
    sys.stdout.write(_NEXT.format(directory=directory, authority=directory.parent / "ca.pem"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
