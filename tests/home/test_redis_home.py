"""examples/redis-home: five services of redis and one of nginx, as Debian has them, in one home."""

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from daemonry.testing import wait_until

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/redis-home"
NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
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
    text = (EXAMPLE / "home.toml").read_text().replace("16379", port).replace('"nginx"', f'"{NGINX}"')
    shop.write(text if NGINX else text.partition("[services.front]")[0])
    return shop


def ask(shop, service, *words):
    command = ["redis-cli", "-s", str(shop.path / f"{service}.sock"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.slow
def test_five_services_come_up_replicate_survive_a_crash_and_go_down(redis):
    redis.up()
    states = {name: one["state"] for name, one in redis.ps().items()}
    assert states.pop("front", "ready") == "ready"
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


def got(shop, path):
    """The answer of nginx at its socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(shop.path / "front.sock"))
        sock.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = b"".join(iter(lambda: sock.recv(1 << 16), b""))
    return answer.decode().partition("\r\n\r\n")[2]


@pytest.mark.slow
@pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian: nginx-light)")
def test_nginx_serves_what_redis_counted_and_one_that_hangs_is_replaced(redis):
    file = redis.path / "home.toml"
    file.write_text(file.read_text().replace('every = "5s"', 'every = "1s"'))
    redis.up()
    wait_until(lambda: "visits: " in got(redis, "/visits"), what="a report at nginx")
    front = redis.pid("front")
    os.kill(front, signal.SIGSTOP)
    for child in Path(f"/proc/{front}/task/{front}/children").read_text().split():
        os.kill(int(child), signal.SIGSTOP)
    wait_until(lambda: redis.ps()["front"]["state"] == "unhealthy", what="it is seen to hang")
    wait_until(lambda: redis.pid("front") not in (None, front), what="another one runs")
    wait_until(lambda: redis.ps()["front"]["state"] == "ready", what="it is ready")
    assert got(redis, "/health") == "ok\n"
    redis.down()
    redis.wait_nothing()
