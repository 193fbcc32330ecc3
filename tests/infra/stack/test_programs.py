"""The programs of the distribution, and how they are got without starting anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from infra.stack import programs
from infra.stack.exceptions import StackError

# Takes notes, and brings the programs if the policy forbids to start them.
APT_GET = """\
#!/bin/sh
echo "$@" >> {notes}
{policy} redis-server start; echo "policy $?" >> {notes}
[ "$1" = install ] || exit 0
{condition}
grep -q '^create_main_cluster = false' {clusters} && echo "no cluster" >> {clusters}.seen
for program in nginx redis-server postgres initdb psql prometheus promtool \\
    prometheus-nginx-exporter prometheus-redis-exporter prometheus-postgres-exporter \\
    prometheus-blackbox-exporter; do
  printf '#!/bin/sh\\n' > {bin}/$program; chmod +x {bin}/$program
done
"""


class Machine:
    """A machine without any of the programs."""

    def __init__(self, directory: Path) -> None:
        self.bin = directory / "bin"
        self.bin.mkdir()
        self.notes = directory / "notes"
        self.policy = directory / "policy-rc.d"
        self.clusters = directory / "createcluster.conf"
        self.clusters.write_text("ssl = on\n")

    def script(self, path: Path, text: str) -> None:
        """Write a program."""
        path.write_text(text)
        path.chmod(0o755)

    def apt_get(self, condition: str = "") -> None:
        """Have a package manager."""
        text = APT_GET.format(
            notes=self.notes,
            policy=self.policy,
            bin=self.bin,
            clusters=self.clusters,
            condition=condition,
        )
        self.script(self.bin / "apt-get", text)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """As root."""
    made = Machine(tmp_path)
    monkeypatch.setattr(programs, "_PATH", str(made.bin))
    monkeypatch.setattr(programs, "_POLICY", made.policy)
    monkeypatch.setattr(programs, "_CLUSTERS", made.clusters)
    monkeypatch.setattr(programs, "_POSTGRESQL", tmp_path / "postgresql")
    monkeypatch.setenv("PATH", f"{made.bin}:/usr/bin:/bin")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    # What the machine that runs the tests has is none of theirs.
    monkeypatch.setattr(programs, "_SERVICES", ())
    return made


def test_missing_programs_are_named_with_the_line_to_type(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For whoever is not root."""
    machine.apt_get()
    for program in set(programs.PACKAGES) - {"nginx", "promtool"}:
        machine.script(machine.bin / program, "")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(StackError) as caught:
        programs.require()

    assert str(caught.value) == (
        "missing: nginx, promtool; "
        "as root: apt-get install --no-install-recommends nginx-light prometheus"
    )
    assert not machine.notes.exists()
    with pytest.raises(StackError, match="missing: nginx; as root"):
        programs.find("nginx")


def test_root_gets_them_and_nothing_is_started(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """The policy is there for the time of the installation only."""
    machine.apt_get()

    programs.require()

    assert programs.missing() == []
    notes = machine.notes.read_text().splitlines()
    assert len(notes) == 2
    assert notes[0].startswith("install --yes --no-install-recommends nginx-light postgresql ")
    assert notes[1] == "policy 101"
    assert not machine.policy.exists()
    assert capsys.readouterr().out.startswith("Installing nginx-light postgresql ")
    programs.require()  # nothing is left to do
    assert len(machine.notes.read_text().splitlines()) == 2
    assert programs.find("nginx") == str(machine.bin / "nginx")


def test_old_lists_are_renewed(machine: Machine) -> None:
    """A fresh container has none at all."""
    machine.apt_get(f"[ $(grep -c update {machine.notes}) -gt 0 ] || exit 100")

    programs.require()

    orders = [line.split()[0] for line in machine.notes.read_text().splitlines()]
    assert orders == ["install", "policy", "update", "policy", "install", "policy"]


def test_an_installation_that_fails_is_told(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what the package manager said, and without leaving the policy behind."""
    machine.apt_get("echo no such package >&2; exit 100")

    with pytest.raises(StackError, match="missing: nginx, redis-server"):
        programs.require()

    assert "no such package" in capsys.readouterr().out
    assert not machine.policy.exists()


def test_a_policy_of_somebody_else_stays(machine: Machine) -> None:
    """If it forbids as well, all is well."""
    text = "#!/bin/sh\n# mine\nexit 101\n"
    machine.script(machine.policy, text)
    machine.apt_get()

    programs.require()

    assert machine.policy.read_text() == text


def test_a_policy_that_lets_services_start_is_not_overruled(machine: Machine) -> None:
    """Somebody wants it so; then he installs them himself."""
    machine.script(machine.policy, "#!/bin/sh\nexit 0\n")
    machine.apt_get()

    with pytest.raises(StackError, match="lets new services start"):
        programs.require()

    assert not machine.notes.exists()


def test_new_services_are_not_enabled(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the next boot nothing starts that nobody asked for; what was there is left as it is."""
    machine.apt_get()
    machine.script(
        machine.bin / "systemctl", f'#!/bin/sh\necho systemctl "$@" >> {machine.notes}\n'
    )
    before = {"nginx.service"}
    after = before | {"redis-server.service", "podman.socket", "somebody.timer"}
    units = iter([before, after])
    monkeypatch.setattr(programs, "_units", lambda: next(units))
    monkeypatch.setattr(programs, "_SERVICES", ("nginx", "redis-server", "prometheus", "podman"))

    programs.require()

    lines = machine.notes.read_text().splitlines()
    assert [line for line in lines if line.startswith("systemctl")] == [
        "systemctl disable podman.socket",
        "systemctl disable redis-server.service",
    ]


def test_postgresql_makes_no_cluster_of_its_own(machine: Machine) -> None:
    """It would start at every boot; and the next package that somebody installs makes its own."""
    machine.apt_get()

    programs.require()

    assert machine.clusters.with_suffix(".conf.seen").read_text() == "no cluster\n"
    assert machine.clusters.read_text() == "ssl = on\n"


def test_its_configuration_comes_first(machine: Machine) -> None:
    """On a machine that never had PostgreSQL."""
    machine.apt_get()
    machine.clusters.unlink()

    programs.require()

    orders = machine.notes.read_text().splitlines()
    assert orders[0] == "install --yes --no-install-recommends postgresql-common"


def test_the_newest_postgresql_is_found(machine: Machine, tmp_path: Path) -> None:
    """Each major version has its programs in a directory of its own."""
    for version in ("9.6", "15", "9", "16"):
        folder = tmp_path / "postgresql" / version / "bin"
        folder.mkdir(parents=True)
        machine.script(folder / "postgres", "#!/bin/sh\n")

    assert programs.find("postgres") == str(tmp_path / "postgresql/16/bin/postgres")
