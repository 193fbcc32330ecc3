"""The images that ours are built on, out of Debian's packages where no image registry answers."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from infra.images.engine import Engine
from infra.images.exceptions import ImageError
from infra.stack import programs

DEBIAN = "localhost/debian:bookworm-slim"
PYTHON = "localhost/python:3.11-slim"
_SUITE = "bookworm"
# What nobody reads in a container.
_LEFT_OUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")
_DEBIAN_FILE = """\
FROM scratch
ADD rootfs.tar /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
CMD ["bash"]
"""
_PYTHON_FILE = f"""\
FROM {DEBIAN}
RUN apt-get update \\
    && apt-get install --yes --no-install-recommends python3 python3-venv \\
    && ln -s python3 /usr/bin/python \\
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*.log
CMD ["python3"]
"""


def make(engine: Engine) -> None:
    """Make both, the second one on the first.

    Raises:
        StackError: A program is missing.
        ImageError: A package cannot be had, or the engine fails.
    """
    programs.require(("mmdebstrap",))
    with tempfile.TemporaryDirectory(prefix="drawbridge-base-") as name:
        context = Path(name)
        _bootstrap(context / "rootfs.tar")
        for image, text in ((DEBIAN, _DEBIAN_FILE), (PYTHON, _PYTHON_FILE)):
            file = context / "Dockerfile"
            file.write_text(text, "utf-8")
            engine.build(image, file=file, context=context)


def _bootstrap(archive: Path) -> None:
    """Write the root directory of a Debian with little in it."""
    command = [
        *(programs.find("mmdebstrap"), "--quiet", "--variant=minbase"),
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT),
        *('--aptopt=Acquire::Languages "none"', "--include=ca-certificates,tzdata"),
        *(_SUITE, str(archive)),
    ]
    if subprocess.run(command, check=False).returncode != 0:  # noqa: S603 - our own words
        raise ImageError("the base image could not be made")
