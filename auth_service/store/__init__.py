"""The database: the only package that runs SQL.

``database`` opens it and gives out connections, one transaction each; ``tables`` says what is in
it; every other module has the statements about one thing, as functions of such a connection. So a
change that concerns several things is one transaction of whoever makes it.
"""

from __future__ import annotations
