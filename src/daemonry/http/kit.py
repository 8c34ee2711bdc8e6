"""What a program builds its own routes and parts from: see `Http(routes=...)` and docs/http.md.

Owns these names and nothing else.  A function of routes is given the `Host`, and returns a list of
Starlette's `Route`s; a `Problem` that they raise becomes problem details.
"""

from daemonry.http.event_stream import EventStream, framed
from daemonry.http.host import Host
from daemonry.http.problems import Problem
from daemonry.http.requests import body_of, query_of
from daemonry.http.responses import json_response

__all__ = ["EventStream", "Host", "Problem", "body_of", "framed", "json_response", "query_of"]
