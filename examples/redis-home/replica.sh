#!/bin/sh
# A replica of the primary, over TCP on loopback: redis replicates over no Unix socket.
# shellcheck disable=SC2154  # a home sets DAEMONRY_SERVICE
exec redis-server --port 0 --unixsocket "$DAEMONRY_SERVICE.sock" --save '' --appendonly no \
    --replicaof 127.0.0.1 "$PRIMARY_PORT"
