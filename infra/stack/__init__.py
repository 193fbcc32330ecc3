"""The stack of the picture on one machine, from real programs: ``make up`` and ``make down``.

settings ──► components: what runs, in which order, and how one sees that it works
                 │
nginx, redis, prometheus: the files of each
                 │
operations: up, down, status ──► processes: start, recognise, stop
                             ──► readiness ──► sockets: who listens where
programs: what must be installed; guide: what to do next
"""
