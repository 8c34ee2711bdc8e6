"""A daemon tells when the disk has other code, or another configuration, than it runs on."""

import os
import sys
import types

import pytest

from daemonry.runtime import fingerprint
from daemonry.runtime.fingerprint import Code, of_config
from daemonry.testing import wait_until

SETTINGS = """
import msgspec
class Settings(msgspec.Struct):
    colors: dict[str, int] = {}
    limit: int = 4
"""
CONFIG = 'config="settings:Settings"'


def test_code_that_changed_under_a_daemon_is_told(probe):
    probe.sandbox.write("part.py", "WORD = 'old'\n")
    probe.start("import part\n")
    assert "code_changed" not in probe.instance.status()
    path = probe.sandbox.write("part.py", "WORD = 'another'\n")
    assert probe.instance.status()["code_changed"] == [str(path)]
    old = probe.instance.record().identity
    assert probe.cli("upgrade").code == 0
    assert "code_changed" not in probe.instance.status()
    wait_until(lambda: not old.alive(), what="the end of the old process")


def test_a_module_that_was_removed_is_told(probe):
    path = probe.sandbox.write("part.py", "WORD = 'old'\n")
    probe.start("import part\n")
    path.unlink()
    assert probe.instance.status()["code_changed"] == [str(path)]


def test_a_configuration_that_nobody_reloaded_is_told(probe):
    probe.sandbox.write("settings.py", SETTINGS)
    path = probe.sandbox.write("home/.config/probe/config.toml", "limit = 4\n")
    probe.start("", CONFIG)
    before = probe.instance.status()
    assert "config_changed" not in before
    path.write_text("limit = 5000\n")
    changed = probe.instance.status()
    assert changed["config_changed"] is True
    assert changed["config_fingerprint"] == before["config_fingerprint"]  # of what is in force
    assert probe.cli("reload").code == 0
    after = probe.instance.status()
    assert "config_changed" not in after
    assert after["config_fingerprint"] != before["config_fingerprint"]


def test_a_configuration_that_cannot_be_read_again_stays_told(probe):
    probe.sandbox.write("settings.py", SETTINGS)
    path = probe.sandbox.write("home/.config/probe/config.toml", "limit = 4\n")
    probe.start("", CONFIG)
    path.write_text("limit = nonsense\n")
    assert probe.cli("reload").code == 1
    assert probe.instance.status()["config_changed"] is True


def test_the_fingerprint_is_of_the_values_and_not_of_their_order():
    assert of_config({"a": 1, "b": 2}) == of_config({"b": 2, "a": 1})
    assert of_config({"a": 1}) != of_config({"a": 2})
    assert of_config({"a": object}) == of_config({"a": object})


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """Have a module imported from a path below the test's directory; return the path."""

    def make(below):
        path = tmp_path / below
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("WORD = 'old'\n")
        module = types.ModuleType(path.stem)
        module.__file__ = str(path)
        monkeypatch.setitem(sys.modules, path.stem, module)
        return path

    return make


@pytest.fixture
def looked_at(monkeypatch):
    """The paths that are asked for, from now on."""
    paths = []

    def look(path):
        paths.append(path)
        return seen(path)

    seen = fingerprint._look
    monkeypatch.setattr(fingerprint, "_look", look)
    return paths


def test_the_standard_library_is_not_looked_at(imported, looked_at):
    own = imported("own_part.py")
    code = Code()
    assert os.__file__ not in looked_at
    assert str(own) in looked_at
    looked_at.clear()
    assert code.changed() == []
    assert os.__file__ not in looked_at
    assert str(own) in looked_at


@pytest.mark.parametrize("packages", ["site-packages", "dist-packages"])
def test_installed_packages_cost_one_look_until_something_is_installed(imported, looked_at, packages):
    """A look at every file would double what a STATUS costs."""
    part = imported(f"lib/{packages}/tool/part_of_tool.py")
    code = Code()
    looked_at.clear()
    assert code.changed() == []
    assert f"{part.parent.parent}{os.sep}" in looked_at
    assert str(part) not in looked_at
    part.write_text("WORD = 'another'\n")
    (part.parent.parent / "tool-2.0.dist-info").mkdir()  # as every installer does
    assert code.changed() == [str(part)]
    looked_at.clear()
    assert code.changed() == [str(part)]  # and stays told
    assert str(part) not in looked_at


def test_what_is_installed_besides_is_no_change(imported):
    part = imported("lib/site-packages/tool/part_of_tool.py")
    code = Code()
    (part.parent.parent / "other-1.0.dist-info").mkdir()
    assert code.changed() == []


def test_what_a_program_replaces_is_not_looked_up(probe):
    """Its clients would not be told."""
    probe.sandbox.write("part.py", "WORD = 'old'\n")
    probe.start("import part\n@daemon.whole_status\ndef fields(usual):\n    return dict(usual)\n")
    probe.sandbox.write("part.py", "WORD = 'another'\n")
    assert probe.instance.status().keys() == {"state", "uptime_secs", "pid", "version"}


def test_a_zygotes_looks_are_its_daemons(imported, looked_at, monkeypatch):
    """They are made once, and what changes while a forked daemon starts is not what it runs."""
    monkeypatch.setattr(fingerprint, "_ahead", None)
    part = imported("own_part.py")
    fingerprint.look_ahead(thorough=False)
    part.write_text("WORD = 'another'\n")
    late = imported("late_part.py")
    looked_at.clear()
    code = Code.of_this_process(thorough=False)
    assert str(part) not in looked_at
    assert str(late) in looked_at
    assert code.changed() == [str(part)]


def test_one_that_looks_otherwise_looks_itself(imported, looked_at, monkeypatch):
    monkeypatch.setattr(fingerprint, "_ahead", None)
    part = imported("own_part.py")
    fingerprint.look_ahead(thorough=False)
    looked_at.clear()
    Code.of_this_process(thorough=True)
    assert str(part) in looked_at


class Watched(types.ModuleType):
    """A module that counts how often somebody asks where it is from."""

    asked = 0

    def __getattribute__(self, name):
        Watched.asked += name == "__file__"
        return super().__getattribute__(name)


def test_a_module_that_a_zygote_has_looked_at_is_left_alone(imported, monkeypatch):
    """To look at it is to count a reference, for which its page is copied."""
    monkeypatch.setattr(fingerprint, "_ahead", None)
    monkeypatch.setattr(Watched, "asked", 0)
    watched = Watched("watched")
    watched.__file__ = __file__
    monkeypatch.setitem(sys.modules, "watched", watched)
    imported("own_part.py")
    fingerprint.look_ahead(thorough=False)
    assert Watched.asked == 1
    late = imported("late_part.py")
    code = Code.of_this_process(thorough=False)
    assert (Watched.asked, str(late) in code.own_files()) == (1, True)


@pytest.mark.parametrize("removed", [[], ["first"], ["last"], ["first", "last"]])
@pytest.mark.parametrize("again", [[], ["first"], ["last"], ["last", "first"]])
@pytest.mark.parametrize("more", [0, 1, 2, 3])
def test_each_new_module_is_found_whatever_went(imported, removed, again, more):
    """Programs take modules out and import them again, and then they stand elsewhere."""
    imported("first.py")
    imported("last.py")
    code = Code()
    for name in removed:
        del sys.modules[name]
    paths = [str(imported(f"new{number}.py")) for number in range(more)]
    for name in again:
        sys.modules.pop(name, None)
        paths.append(str(imported(f"elsewhere/{name}.py")))
    assert set(paths) <= set(code.own_files())
