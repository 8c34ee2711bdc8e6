"""The cache by rpyc."""

import sys
import threading

import rpyc
from get_or_spawn import get_or_spawn
from rpyc.utils.server import ThreadedServer

VALUES, COUNTERS, LOCK = {}, {}, threading.Lock()


class CacheService(rpyc.Service):
    def exposed_put(self, key, value):
        VALUES[key] = value

    def exposed_get(self, key):
        return VALUES.get(key)

    def exposed_add(self, key, steps=1):
        with LOCK:
            COUNTERS[key] = COUNTERS.get(key, 0) + steps
            return COUNTERS[key]


def client(path):
    get_or_spawn(__file__, path)
    return rpyc.utils.factory.unix_connect(path).root


if __name__ == "__main__":
    ThreadedServer(CacheService, socket_path=sys.argv[2]).start()
