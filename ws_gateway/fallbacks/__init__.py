"""Connections without WebSockets: a response without end, and requests with commands."""
