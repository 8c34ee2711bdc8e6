"""HTTP for a daemon, or a home's supervisor: on its own socket, told by the first bytes, and on a port.

The third-party modules (starlette, uvicorn's protocol, prometheus-client; the extra `http`) are
imported in `door`, by the first request, and nowhere else on the way there.
"""
