"""What every grant type has in common."""

from __future__ import annotations

import pytest

from auth_service.exceptions import UnauthorizedClient
from auth_service.grants.base import require_grant
from auth_service.models import Client


def test_a_client_uses_the_grants_of_its_registration() -> None:
    """And no others."""
    client = Client("chat", None, frozenset({"password"}), frozenset({"connect"}), False, 1)

    require_grant(client, "password")
    with pytest.raises(UnauthorizedClient):
        require_grant(client, "refresh_token")
