"""A store of one value, on a Unix socket: a line `set X` keeps X, a line `get` answers with it."""

import os
import socketserver


class Handler(socketserver.StreamRequestHandler):
    """One connection: one line in, one line out."""

    value = b""

    def handle(self):
        """Answer it."""
        word, _, value = self.rfile.readline().strip().partition(b" ")
        if word == b"set":
            Handler.value = value
        self.wfile.write(Handler.value + b"\n")


with socketserver.UnixStreamServer(os.environ["DAEMONRY_SOCKET"], Handler) as server:
    os.write(int(os.environ["DAEMONRY_READY_FD"]), b'{"ready": {}}\n')
    print("keeping one value", flush=True)
    server.serve_forever()
