"""Kubernetes' schemas, by one that knows two kinds."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from infra.manifests import schemas
from infra.manifests.documents import Documents


class ValidationError(Exception):
    """As the package has it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class SchemaNotFoundError(Exception):
    """As the package has it."""


def validate(document: Any, version: str, *, strict: bool) -> None:  # noqa: ANN401
    """Know Services, and Pods since 1.34; refuse what is marked."""
    assert strict
    known = {"Service", "Pod"} if version >= "1.34" else {"Service"}
    if document["kind"] not in known:
        raise SchemaNotFoundError
    if document.get("wrong"):
        raise ValidationError("wrong was unexpected")


@pytest.fixture(autouse=True)
def _package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real one is in another environment."""
    package = SimpleNamespace(
        validate=validate,
        ValidationError=ValidationError,
        SchemaNotFoundError=SchemaNotFoundError,
    )
    monkeypatch.setitem(sys.modules, "kubernetes_validate", package)


def found(api: str, kind: str, **fields: object) -> list[str]:
    """Look at one document, in two versions."""
    document = {"apiVersion": api, "kind": kind, "metadata": {"name": "x"}, **fields}
    return list(schemas.problems(Documents([document]), ("1.32", "1.34")))


def test_what_every_version_takes_is_no_problem() -> None:
    """Nothing is said."""
    assert found("v1", "Service") == []


def test_each_version_that_refuses_it_is_told() -> None:
    """With the field."""
    assert found("v1", "Service", wrong=True) == [
        "1.32, Service x: wrong was unexpected",
        "1.34, Service x: wrong was unexpected",
    ]


def test_a_kind_that_is_not_there_yet_is_a_problem() -> None:
    """A typo in it would be passed over otherwise."""
    assert found("v1", "Pod") == ["1.32, Pod x: there is no such kind"]


def test_kinds_of_operators_are_known_by_name_and_version() -> None:
    """Not any kind that is unknown."""
    assert found("monitoring.coreos.com/v1", "ServiceMonitor") == []
    assert len(found("monitoring.coreos.com/v2", "ServiceMonitor")) == 2
