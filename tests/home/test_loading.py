"""What answers for a home is loaded beside its services' start, and does not hold them up."""

import asyncio
import sys
import threading

import pytest

from daemonry.home.serving import loading
from daemonry.home.serving.home_server import HomeServer
from daemonry.testing import wait_until


def test_it_is_loaded_in_a_thread_that_ends():
    assert asyncio.run(loading.load()) is HomeServer
    wait_until(lambda: "daemonry-loading" not in {one.name for one in threading.enumerate()})


def test_a_module_that_cannot_be_loaded_is_the_callers_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "daemonry.home.serving.home_server", None)
    with pytest.raises(ImportError, match="home_server"):
        asyncio.run(loading.load())


HELD_UP = """
import sys, time
class Slow:
    def find_spec(self, name, path, target=None):
        if name == "daemonry.home.serving.home_server":
            while not __import__("os").path.exists({go!r}):
                time.sleep(0.01)
sys.meta_path.insert(0, Slow())
"""


def test_services_are_started_and_watched_while_it_is_loaded(shop, service):
    """The supervisor answers nobody yet, and restarts a service that ends."""
    ends = "echo x >>runs; [ $(wc -l <runs) -lt 3 ] || exec sleep 600; exit 1"
    shop.write(service("a", ["sh", "-c", ends], restart='"always"', restart_delay='"10ms"'))
    go = shop.path / "go"
    shop.sandbox.write("sitecustomize.py", HELD_UP.format(go=str(go)))
    shop.sandbox.env["PYTHONPATH"] = str(shop.sandbox.path)
    up = shop.sandbox.popen(sys.executable, "-m", "daemonry", "up", "--home", str(shop.path))
    shop.wait_event("a", "ready after")
    assert (shop.path / "runs").read_text() == "x\n" * 3
    assert up.poll() is None
    go.touch()
    out, err = up.communicate(timeout=60)
    assert (up.returncode, err) == (0, "")
    assert "a  ready after" in out
    shop.down()
