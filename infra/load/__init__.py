"""A load test through the front with locust: ``make load``.

settings ──► __main__ ──► tokens: signed in bulk, with the stack's own key
                 │ starts, in a virtual environment of its own
                 ▼
             locustfile: the users ──► accounting: who was owed what, and got it
                 │                └──► result: what one process has measured
                 ▼
             summary: the results of all processes as one table
"""
