"""The server API: what a backend may ask of all gateways together, in the shape of ``cent``."""
