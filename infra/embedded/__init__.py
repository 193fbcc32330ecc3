"""Both services in one process, on loopback, for a first look and for developers.

``server`` puts them together: ``settings`` and ``loopback`` say where, ``certificate`` and
``demo_users`` make what is kept in the ``local_directory``, ``front`` dispatches, ``guide`` tells
what to do next.
"""
