"""The warm way: what a call may load, and that it is as safe as the long one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mcp_cli.config import cache, files, search

# What each of these costs, or brings with it, is more than a whole call may take.
HEAVY = (
    "argparse",
    "asyncio",
    "dataclasses",
    "hashlib",
    "importlib.util",
    "inspect",
    "json",
    "logging",
    "mcp",
    "mcp_cli.config.model",
    "mcp_cli.protocol.interfaces",
    "mcp_cli.client.session",
    "msgspec",
    "pathlib",
    "re",
    "socket",
    "subprocess",
    "threading",
    "tomllib",
    "typing",
)


def test_a_warm_call_loads_nothing_heavy(app):
    app.settle()
    app.done("call", "fake/echo", "text=1")
    code = (
        "import sys, os\n"
        "sys.argv = ['mcp-cli', 'call', 'fake/echo', 'text=2']\n"
        "from mcp_cli.cli import entry\n"
        "code = entry.run(sys.argv[1:])\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"],
        cwd=app.sandbox.path,
        env=app.sandbox.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "2\n[] 0\n", done


def test_the_cli_never_imports_the_sdk(app):
    """Nor does a command that starts a daemon, or lists what servers have."""
    for words in (["list"], ["info", "fake"], ["daemon", "status"], ["config", "validate"]):
        code = f"from mcp_cli.cli import entry; import sys; entry.run({words!r}); print('mcp' in sys.modules)"
        assert app.sandbox.run(sys.executable, "-c", code).out.endswith("False\n")


# --- what is remembered -----------------------------------------------------------------------

CONFIG = '[[servers]]\nname = "a"\ntransport = { command = "x", env = { T = "${TOKEN}" } }\n'


@pytest.fixture
def remembered(tmp_path):
    """A configuration that was parsed and is remembered: its file, and the environment."""
    path = tmp_path / "m.toml"
    path.write_text(CONFIG)
    environment = {"HOME": str(tmp_path / "home"), "TOKEN": "secret"}

    def find(**changed):
        found = search.find(str(path), environment)
        return cache.lookup(found, "a", environment | changed)

    return path, environment, find


def settled(path, environment, monkeypatch):
    monkeypatch.setattr(cache, "SETTLED_NS", 0)
    files.load(str(path), environment)


def test_what_was_parsed_is_remembered_with_the_environment(remembered, monkeypatch):
    path, environment, find = remembered
    assert find() is None
    settled(path, environment, monkeypatch)
    loaded = files.load(str(path), environment)
    from mcp_cli.config import model

    whole = model.definition(loaded.servers[0], loaded, environment)
    assert find().fingerprint == whole["fingerprint"]
    assert find(TOKEN="other").fingerprint != whole["fingerprint"]
    assert find().timeout_s == 1800


def test_a_file_that_changed_just_now_is_not_remembered(remembered):
    path, environment, find = remembered
    files.load(str(path), environment)
    assert find() is None


@pytest.mark.parametrize("change", ["size", "time", "inode", "content"])
def test_any_change_of_the_file_is_seen(remembered, monkeypatch, change):
    path, environment, find = remembered
    settled(path, environment, monkeypatch)
    assert find() is not None
    if change == "size":
        path.write_text(CONFIG + "\n")
    elif change == "time":
        os.utime(path, ns=(1, 1))
    elif change == "content":  # by something that puts the time back
        before = path.stat()
        path.write_text(CONFIG.replace('"x"', '"y"'))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    else:
        beside = path.with_suffix(".new")
        beside.write_text(CONFIG)
        os.utime(beside, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
        beside.rename(path)
    assert find() is None


@pytest.mark.parametrize("damage", ["mode", "text", "link", "gone"])
def test_a_memory_that_is_damaged_or_not_ours_is_not_believed(remembered, monkeypatch, damage):
    path, environment, find = remembered
    settled(path, environment, monkeypatch)
    (file,) = (path.parent / "home/.cache/mcp-cli/config").iterdir()
    assert "secret" not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    if damage == "mode":
        file.chmod(0o666)
    elif damage == "text":
        file.write_bytes(b"\xff\x00")
    elif damage == "link":
        file.rename(file.with_suffix(".x"))
        file.symlink_to(file.with_suffix(".x"))
    else:
        file.unlink()
    assert find() is None
    files.load(str(path), environment)  # and parsing goes on
