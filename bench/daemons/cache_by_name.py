"""The cache by daemonry: examples/kvd.py, called by names."""

import daemonry


class Client:
    def __init__(self):
        self.calls = daemonry.ensure("kvd")

    def add(self, key, steps=1):
        return self.calls.call("org.example.cache.Add", {"key": key, "steps": steps})["result"]


def client(path):
    """Return a client; the daemon finds its own place, so `path` is not needed."""
    return Client()
