"""What `up` and `down` leave out: a second reading of home.toml, and taking interpreters apart."""

import shutil
import subprocess
import sys

import pytest
from tests.cli.test_quick_path import imported

from daemonry.home import service_files
from daemonry.home.home_toml import home_file
from daemonry.home.own_files import OwnFiles
from daemonry.home.run import process_run

# Notes how a supervisor ends, and how many objects its collector passes over.
NOTES_ITS_END = """
import gc, os, sys
def left(code, really=os._exit):
    if "--foreground" in sys.argv:
        with open(os.environ["NOTE"], "w") as file:
            file.write(f"{code} {gc.get_freeze_count() > 10_000} {gc.isenabled()}")
    really(code)
os._exit = left
"""


def test_up_leaves_the_reading_of_the_file_to_the_supervisor(shop, service):
    shop.write(service("a"))
    words = ("-m", "daemonry", "up", "--home", shop.path)
    modules, done = imported(*words, env=shop.sandbox.env, cwd=shop.sandbox.path)
    assert (done.returncode, "shop: up" in done.stdout) == (0, True)
    not_needed = {
        "subprocess",
        "argparse",
        "asyncio",
        "daemonry.home.home_toml.home_file",
        "msgspec",
        "tomllib",
        "typing",
    }
    assert not_needed & modules == set()


def test_a_name_that_is_no_service_is_told_before_anything_is_made(shop, service):
    shop.write(service("a"))
    done = shop.cli("up", "b")
    assert (done.code, done.err) == (2, "SERVICE: there is no service 'b': there are a\n"), done
    assert [one.name for one in shop.path.iterdir()] == ["home.toml"]


def test_a_supervisor_is_not_taken_apart_and_its_start_is_not_looked_through(shop, service):
    """Both took a third of the CPU time of `down`."""
    shop.write(service("a"))
    shop.sandbox.write("sitecustomize.py", NOTES_ITS_END)
    note = shop.sandbox.path / "note"
    shop.sandbox.env |= {"NOTE": str(note), "PYTHONPATH": str(shop.sandbox.path)}
    shop.up()
    shop.down()
    assert note.read_text() == "0 True True"


@pytest.mark.parametrize(("nothing_left", "said"), [(True, ""), (False, "taken apart\n")])
def test_a_command_with_threads_ends_at_once_where_it_says_that_nothing_is_left(sandbox, nothing_left, said):
    code = (
        "import atexit, threading; from daemonry.cli import kit\n"
        "atexit.register(print, 'taken apart')\n"
        f"{'kit.nothing_left_to_end()' if nothing_left else ''}\n"
        "kit.leave(3)\n"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, env=sandbox.env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, said)


def test_a_program_is_looked_for_once_in_each_reading(shop, service, monkeypatch):
    looked = []
    monkeypatch.setattr(shutil, "which", lambda word, path: looked.append(word) or f"/bin/{word}")
    shop.write("".join(service(name) for name in "abc"))
    first = home_file.load(str(shop.path))
    assert looked == ["sh"]
    assert home_file.load(str(shop.path)) == first
    assert looked == ["sh", "sh"]


def test_of_each_process_only_its_own_is_asked(monkeypatch):
    """The boot and the numbering are the same for all, as long as we live."""
    asked = []
    monkeypatch.setattr(process_run.platform, "boot_id", lambda: asked.append("boot") or "b")
    monkeypatch.setattr(process_run.platform, "pid_namespace", lambda: asked.append("pids") or "p")
    process_run._here.cache_clear()
    try:
        found = [process_run._identity(1), process_run._identity(2)]
    finally:
        process_run._here.cache_clear()
    assert [(one.boot_id, one.pid_namespace, one.pid) for one in found] == [("b", "p", 1), ("b", "p", 2)]
    assert asked == ["boot", "pids"]


def test_nobody_connects_where_no_socket_is(shop, monkeypatch):
    tried = []
    monkeypatch.setattr(service_files, "connect", lambda *given: tried.append(given))
    files = service_files.ServiceFiles(shop.home, "a", OwnFiles())
    files.remove_stale_socket(str(shop.path / "a.sock"))
    assert tried == []
    (shop.path / "a.sock").symlink_to("nowhere")
    files.remove_stale_socket(str(shop.path / "a.sock"))
    assert not (shop.path / "a.sock").is_symlink()
