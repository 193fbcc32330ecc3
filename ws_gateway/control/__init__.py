"""What gateways ask of each other: orders about users and connections, and surveys."""
