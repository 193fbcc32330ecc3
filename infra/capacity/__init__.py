"""How many of everything: a model of what so many connections need."""
