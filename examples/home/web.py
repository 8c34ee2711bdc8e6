"""Tells the time over HTTP, on a Unix socket: `curl --unix-socket examples/home/web.sock http://web/time`."""

import http.server
import os
import socket
import socketserver


def time_in_store():
    with socket.socket(socket.AF_UNIX) as store:
        store.connect(os.environ["DAEMONRY_SOCKET_STORE"])
        store.sendall(b"get\n")
        return store.makefile("rb").readline()


class Handler(http.server.BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self):
        """Answer it."""
        found = self.path == "/time"
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(time_in_store() if found else b"only /time is here\n")

    def address_string(self):
        """Return who asks, for the log: a Unix socket's client has no address."""
        return "local"


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """A thread for each client."""

    daemon_threads = True


with Server(os.environ["DAEMONRY_SOCKET"], Handler) as server:
    server.serve_forever()
