"""The four boards: is all well, then one for each place where it may not be."""

from __future__ import annotations

from infra.grafana.auth import AUTH
from infra.grafana.gateway import GATEWAY
from infra.grafana.infrastructure import INFRASTRUCTURE
from infra.grafana.overview import OVERVIEW

BOARDS = (OVERVIEW, GATEWAY, AUTH, INFRASTRUCTURE)
"""All of them."""
