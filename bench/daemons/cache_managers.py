"""The cache by multiprocessing.managers."""

import sys
from multiprocessing.managers import BaseManager

from get_or_spawn import get_or_spawn


class Cache:
    def __init__(self):
        self.values, self.counters = {}, {}

    def put(self, key, value):
        self.values[key] = value

    def get(self, key):
        return self.values.get(key)

    def add(self, key, steps=1):
        self.counters[key] = self.counters.get(key, 0) + steps
        return self.counters[key]


CACHE = Cache()


class Manager(BaseManager):
    pass


Manager.register("cache", callable=lambda: CACHE)


def client(path):
    get_or_spawn(__file__, path)
    manager = Manager(address=path, authkey=b"cache")
    manager.connect()
    return manager.cache()


if __name__ == "__main__":
    Manager(address=sys.argv[2], authkey=b"cache").get_server().serve_forever()
