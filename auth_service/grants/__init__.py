"""What a client may exchange for tokens: one module per grant type."""

from __future__ import annotations
