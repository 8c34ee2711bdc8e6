"""The cache by daemonry: examples/kvd.py, called by a proxy."""

import kvd

import daemonry


def client(path):
    """Return a client; the daemon finds its own place, so `path` is not needed."""
    return daemonry.ensure(kvd.daemon).proxy(kvd.Cache)
