"""examples/redis-home: five services of redis, as Debian has it, in one home."""

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from daemonry.testing import wait_until

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/redis-home"
pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None or shutil.which("redis-cli") is None,
    reason="redis-server and redis-cli are not installed (Debian: redis-server, redis-tools)",
)


@pytest.fixture
def redis(shop):
    """The example, at a port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    for file in EXAMPLE.iterdir():
        shutil.copy(file, shop.path)
    shop.write((EXAMPLE / "home.toml").read_text().replace("16379", port))
    return shop


def ask(shop, service, *words):
    command = ["redis-cli", "-s", str(shop.path / f"{service}.sock"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.slow
def test_five_services_come_up_replicate_survive_a_crash_and_go_down(redis):
    redis.up()
    states = {name: one["state"] for name, one in redis.ps().items()}
    assert states.pop("report") in ("idle", "waiting", "starting", "ready")
    assert states == dict.fromkeys(("primary", "replica-1", "replica-2", "counter"), "ready")
    ask(redis, "primary", "set", "key", "value")
    for name in ("replica-1", "replica-2"):
        wait_until(lambda name=name: ask(redis, name, "get", "key") == "value", what=f"{name} has it")
    wait_until(lambda: any("visits: " in line for line in redis.written("report")), what="a report")
    first, counter = redis.pid("primary"), redis.pid("counter")
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: redis.pid("primary") not in (None, first), what="the primary runs again")
    wait_until(lambda: redis.pid("counter") not in (None, counter), what="the counter follows")
    assert redis.cli("down", "data").code == 0
    assert {redis.ps()[name]["state"] for name in ("primary", "replica-1", "replica-2")} == {"stopped"}
    redis.down()
    redis.wait_nothing()
