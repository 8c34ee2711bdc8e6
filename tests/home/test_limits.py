"""What a service may take, what its files of variables say, and restarts when files change."""

import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.home import consumption
from daemonry.home.file_changes import is_meant
from daemonry.home.home_toml.environment_file import EnvironmentFileInvalid, parse
from daemonry.home.run import resource_use
from daemonry.testing import wait_until

needs_linux = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="homes need Linux")
LEAKS = "import time; kept = []\nwhile True: kept.append(b'x' * 2**20); time.sleep(0.02)"


@needs_linux
def test_one_that_leaks_is_ended_and_restarted_with_the_reason(shop, service):
    shop.write(service("a", [sys.executable, "-c", LEAKS], memory_max='"60M"', restart_delay='"10ms"'))
    shop.up()
    first = shop.pid("a")
    shop.wait_event("a", "of memory, and may take 60.0 MiB; ending it")
    wait_until(lambda: shop.pid("a") not in (None, first), what="it runs again")


@needs_linux
def test_one_that_ends_before_the_first_look_names_its_limit(monkeypatch):
    """It was refused memory, as a rule; later, and with 0, the limit is not to blame."""
    now_s = [0.0]
    monkeypatch.setattr(resource_use.time, "monotonic", lambda: now_s[0])
    monkeypatch.setattr(resource_use, "measure", lambda pid: consumption.Use(0, 0.0, 0, 0.0))
    monkeypatch.setattr(resource_use, "_limit_data", lambda pid, most: None)
    limits = resource_use.Limits(1, 5 << 20, 0.0)
    assert limits.ended(1) == "exited with 1; memory_max, 5.0 MiB, may be too little for it"
    assert limits.ended(0) == limits.ended(None) == ""
    now_s[0] = 3.0
    assert limits.ended(1) == ""


@needs_linux
def test_processor_time_is_measured_over_a_while(monkeypatch):
    now_s, used = [0.0], [0.0]
    monkeypatch.setattr(resource_use.time, "monotonic", lambda: now_s[0])
    monkeypatch.setattr(resource_use, "measure", lambda pid: consumption.Use(0, used[0], 0, 0.0))
    limits = resource_use.Limits(1, 0, 0.5)
    now_s[0], used[0] = 10.0, 10.0
    assert limits.exceeded() == ""
    now_s[0], used[0] = 40.0, 19.0
    assert limits.exceeded() == ""
    now_s[0], used[0] = 80.0, 59.0
    assert limits.exceeded() == "took 1.00 processors for 40 s, and may take 0.5"


@needs_linux
def test_what_is_below_a_process_counts():
    import subprocess

    child = subprocess.Popen([sys.executable, "-c", "import time; x = b'1' * (30 << 20); time.sleep(60)"])
    try:
        wait_until(lambda: consumption.measure(os.getpid()).memory_bytes > 30 << 20, what="it is there")
        assert consumption.measure(os.getpid()).memory_bytes > consumption.measure(child.pid).memory_bytes
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ('memory_max = "5"', "not a size"),
        ("memory_max = 4096", "not a size"),
        ("cpu_max = 0.0", "not a number of processors"),
        ('environment_files = ["none.env"]', "a - before it makes it optional"),
        ('environment_files = ["bad.env"]', "line 2: 'oops' is not of the form NAME=VALUE"),
        ('watch = ["/etc"]', "must be a path below its directory"),
        ('watch = ["../x"]', "must be a path below its directory"),
    ],
)
def test_what_cannot_be_is_an_error_with_its_place(shop, service, keys, told):
    (shop.path / "bad.env").write_text("A=1\noops\n")
    shop.write(service("a") + keys + "\n")
    done = shop.cli("up")
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert told in done.err
    assert not shop.home.is_up()


# --- files of variables -----------------------------------------------------------------------------


@needs_linux
def test_variables_of_files_come_before_those_of_the_table(shop, service):
    (shop.path / "a.env").write_text("# of all\nexport ONE=1\nTWO='two words' # so\nTHREE=3\n")
    tell = ["sh", "-c", 'echo "$ONE,$TWO,$THREE"; exec sleep 600']
    shop.write(
        service("a", tell, environment_files='["a.env", "-none.env"]', environment='{ THREE = "drei" }')
    )
    shop.up()
    assert shop.written("a") == ["1,two words,drei"]
    (shop.path / "a.env").write_text("ONE=one\n")
    assert shop.cli("reload").code == 0
    wait_until(lambda: shop.written("a")[-1] == "one,,drei", what="it is started with them")


@given(st.text())
def test_any_text_is_read_or_refused_with_a_line(text):
    try:
        found = parse(text)
    except EnvironmentFileInvalid as error:
        found, told = {}, str(error)
    else:
        told = "line "
    assert told.startswith("line ")
    assert all(name and "=" not in name for name in found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A=1\n\n#B=2\nA=3", {"A": "3"}),
        ('A="x y"', {"A": "x y"}),
        ("A=$HOME", {"A": "$HOME"}),
        ("A=", {"A": ""}),
        ("  export A = b ", {"A": "b"}),
    ],
)
def test_lines_of_variables(text, found):
    assert parse(text) == found


# --- changes of files -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "pattern", "meant"),
    [
        ("a.py", "*.py", True),
        ("src/a.py", "src", True),
        ("src/deep/a.py", "src/**/*.py", True),
        ("src/a.py", "src/**/*.py", True),
        ("a.txt", "*.py", False),
        ("srcs/a.py", "src", False),
        (".git/a.py", "*.py", False),
        ("__pycache__/a.py", "**/*.py", False),
        ("a.py~", "*", False),
    ],
)
def test_which_files_are_meant(path, pattern, meant):
    assert is_meant(f"/home/x/{path}", "/home/x", [pattern]) is meant


@needs_linux
def test_a_change_of_its_files_restarts_it_and_of_others_does_not(shop, service):
    pytest.importorskip("watchfiles")
    (shop.path / "a.conf").write_text("1")
    tell = ["sh", "-c", "cat a.conf; echo; exec sleep 600"]
    shop.write(service("a", tell, watch='["*.conf"]') + service("b"))
    shop.up()
    other = shop.pid("b")

    def changed():
        # Until the watch is there, nobody sees a change.
        with open(shop.path / "a.conf", "w") as file:
            file.write("2")
        return "2" in shop.written("a")

    wait_until(changed, what="it runs with the new file")
    assert any("because files changed: a.conf" in one for one in shop.events("a"))
    assert shop.pid("b") == other
