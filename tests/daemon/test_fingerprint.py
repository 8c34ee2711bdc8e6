"""A daemon tells when the disk has other code, or another configuration, than it runs on."""

import os
import sys
import time

from daemonry.daemon.fingerprint import Code, of_config

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
    assert probe.cli("upgrade").code == 0
    assert "code_changed" not in probe.instance.status()


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


def test_the_standard_library_is_not_looked_at_and_the_look_is_cheap():
    code = Code()
    assert os.__file__ not in code._files
    assert sys.modules[__name__].__file__ in code._files
    began_s = time.process_time()
    code.changed()
    assert time.process_time() - began_s < 0.2
