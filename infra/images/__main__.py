"""``python -m infra.images base | build | push``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from infra.images import base, build, engine
from infra.images.exceptions import ImageError
from infra.stack.exceptions import StackError

EXIT_REFUSED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one order; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.images",
        description="The images; REGISTRY, TAG, BASE_IMAGE and NGINX_BASE_IMAGE count.",
    )
    parser.add_argument("order", choices=("base", "build", "push"))
    order = parser.parse_args(arguments).order
    try:
        names = build.names(os.environ)
        found = engine.find()
        if order == "base":
            base.make(found)
        elif order == "build":
            build.build(found, names, os.environ)
        else:
            build.push(found, names)
    except (ImageError, StackError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
