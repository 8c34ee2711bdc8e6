"""The example home as its text says: its order, a crash, a crash loop that is given up, and its end."""

import os
import shutil
import signal
import socket
from pathlib import Path

from daemonry.testing import wait_until

EXAMPLE = Path(__file__).parents[2] / "examples/home"


def get(path):
    with socket.socket(socket.AF_UNIX) as web:
        web.connect(str(path))
        web.sendall(b"GET /time HTTP/1.0\r\n\r\n")
        return web.makefile("rb").read().rpartition(b"\r\n")[2].strip()


def test_the_example_home(shop):
    shutil.copytree(EXAMPLE, shop.path, dirs_exist_ok=True)
    shop.write((EXAMPLE / "home.toml").read_text())
    done = shop.up()
    assert [line.split()[:2] for line in done.out.splitlines()[:3]] == [
        ["store", "ready"],
        ["clock", "ready"],
        ["web", "ready"],
    ]
    assert get(shop.path / "web.sock").count(b":") == 2
    assert "open for business" in wait_until(lambda: [one for one in shop.events("web") if "open" in one])[0]

    crashed = shop.pid("clock")
    os.kill(crashed, signal.SIGKILL)
    wait_until(lambda: (one := shop.ps()["clock"])["restarts"] == 1 and one["state"] == "ready")
    assert shop.pid("clock") != crashed

    (shop.path / "broken").touch()
    os.kill(shop.pid("clock"), signal.SIGKILL)
    wait_until(lambda: shop.ps()["clock"]["state"] == "failed")
    assert shop.ps()["clock"]["note"] == "given up after 3 restarts within 60 s: exited with 7"
    assert shop.written("clock")[-1] == "the spring is broken"
    assert [shop.ps()[name]["state"] for name in ("store", "web")] == ["ready", "ready"]

    (shop.path / "broken").unlink()
    assert shop.cli("restart", "clock").code == 0
    assert [line.split() for line in shop.down().out.splitlines()[:3]] == [
        ["web", "stopped"],
        ["clock", "stopped"],
        ["store", "stopped"],
    ]
    shop.wait_nothing()
    left = {path.name for path in shop.path.iterdir()} - {path.name for path in EXAMPLE.iterdir()}
    assert left == {"home.lock", "home.log", "store.log", "clock.log", "web.log"}
