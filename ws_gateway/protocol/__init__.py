"""The Centrifuge client protocol: messages and their encodings."""

from __future__ import annotations
