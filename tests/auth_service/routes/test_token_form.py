"""The form of a request about one token."""

from __future__ import annotations

from auth_service.routes.token_form import describe_form


def test_only_the_token_is_required() -> None:
    """The client may be named in the Authorization header."""
    (content,) = describe_form()["content"].values()

    assert content["schema"]["required"] == ["token"]
    assert {"client_id", "client_secret"} <= content["schema"]["properties"].keys()
