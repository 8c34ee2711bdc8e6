"""The cache by Pyro5 on a Unix socket."""

import sys
import threading

import Pyro5.api
from get_or_spawn import get_or_spawn


@Pyro5.api.expose
class Cache:
    def __init__(self):
        self.values, self.counters, self.lock = {}, {}, threading.Lock()

    def put(self, key, value):
        self.values[key] = value

    def get(self, key):
        return self.values.get(key)

    def add(self, key, steps=1):
        with self.lock:
            self.counters[key] = self.counters.get(key, 0) + steps
            return self.counters[key]


def client(path):
    get_or_spawn(__file__, path)
    return Pyro5.api.Proxy(f"PYRO:cache@./u:{path}")


if __name__ == "__main__":
    daemon = Pyro5.api.Daemon(unixsocket=sys.argv[2])
    daemon.register(Cache(), "cache")
    daemon.requestLoop()
