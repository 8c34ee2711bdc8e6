"""Anything may lie where mcp-cli reads or keeps something: nothing waits for it, and nothing is lost."""

import json
import os
import signal
from pathlib import Path

import pytest

from daemonry.testing import odd_files
from mcp_cli.config import cache, search
from mcp_cli.pool.access import tokens

# Nothing here takes as long on any machine: it would wait for ever.
HANGS_S = 60


@pytest.fixture
def _hangs():
    """What waits for ever is interrupted, and has failed."""

    def fail(*_):
        raise AssertionError(f"it waits for ever, or for more than {HANGS_S} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(HANGS_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("_hangs")
@pytest.mark.parametrize("kind", odd_files.KINDS)
def test_the_cache_of_a_configuration_is_replaced_or_done_without(tmp_path, monkeypatch, kind):
    config = tmp_path / "servers.toml"
    config.write_text("")
    monkeypatch.setattr(cache, "SETTLED_NS", 0)
    found = search.ConfigFile(str(config), str(tmp_path), os.stat(config))
    environment = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    cache.remember(found, 4, [("one", "abc", 3.0, ())], environment)
    assert cache.lookup(found, "one", environment).fingerprint == "abc"
    (path,) = (one for one in (tmp_path / "cache/mcp-cli").iterdir())
    odd_files.put(kind, path)
    assert cache.lookup(found, "one", environment) is None
    cache.remember(found, 4, [("one", "abc", 3.0, ())], environment)
    odd_files.nothing_lost(kind, path)


@pytest.mark.usefixtures("_hangs")
@pytest.mark.parametrize("kind", odd_files.KINDS)
def test_the_tokens_of_a_server_are_read_as_none(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    url = "http://127.0.0.1:1/mcp"
    tokens.save(tokens.StoredTokens(url, tokens="secret"))
    (path,) = (one for one in Path(tokens.directory()).iterdir())
    odd_files.put(kind, path)
    assert tokens.load(url) == tokens.StoredTokens(url)
    if kind == "directory":
        with pytest.raises(IsADirectoryError):
            tokens.save(tokens.StoredTokens(url, tokens="new"))
    else:
        tokens.save(tokens.StoredTokens(url, tokens="new"))
        assert tokens.load(url).tokens == "new"
    odd_files.nothing_lost(kind, path)


@pytest.mark.parametrize("kind", odd_files.KINDS)
@pytest.mark.slow
def test_a_configuration_or_a_recording_of_any_kind_is_told_in_a_line(app, kind):
    given = app.sandbox.path / "given.toml"
    odd_files.put(kind, given)
    for words in (
        ("--config", str(given), "list"),
        ("replay", str(given)),
        ("call", "fake/echo", f"@{given}"),
    ):
        done = app(*words)
        assert "Traceback" not in done.err, done
        if words[0] == "replay" or kind in {"directory", "socket", "sparse"}:
            assert done.code in {1, 2}, done
            assert str(given) in done.err, done
    if kind in {"fifo", "directory", "socket"}:
        done = app("record", str(given), "fake")
        assert done.code == 1, done
        assert f"{given} cannot be written" in done.err, done
    odd_files.nothing_lost(kind, given)


def test_a_pipe_that_somebody_writes_to_is_read_to_its_end(app):
    given = app.sandbox.path / "arguments"
    os.mkfifo(given)
    text = json.dumps({"text": "x" * 100_000})
    writer = app.sandbox.popen("sh", "-c", 'cat > "$0"', str(given), stdin=-1)
    # Open in both directions, it has a writer however late the other one comes.
    fd = os.open(given, os.O_RDWR | os.O_NONBLOCK)
    reading = app.popen("call", "fake/echo", f"@{given}", stdout=-1, stderr=-1)
    writer.communicate(text)
    os.close(fd)
    out, err = reading.communicate(timeout=60)
    assert (reading.returncode, err) == (0, "")
    assert len(out) > 100_000
