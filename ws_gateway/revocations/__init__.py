"""Which tokens have ended before their time: what an issuer's log says, and how it is followed."""
