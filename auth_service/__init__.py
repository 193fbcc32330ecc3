"""Drawbridge's OAuth2 authorization server: users in, short-lived access tokens out."""

from __future__ import annotations

__version__ = "0.1.0"
