"""What a vx.toml means, and where in it a mistake is told to be: by calls, without a disk."""

from __future__ import annotations

import re

import pytest

from daemonry.typed_toml import parse
from vx.project import c_manifest
from vx.project.errors import ProjectInvalid, Unsupported
from vx.project.rust_files import MAX_MANIFEST_BYTES, read_toml

NOT_KEYS = """\
# [targets.a]
[project]
name = '''é
[targets.a]
kind = "tea"
sources = []
'''
[targets.a]
# sources = []
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "8:10: targets.a.sources: is missing"),
        ("\tsorces = []", "10:2: targets.a.sorces: is not known: did you mean 'sources'?"),
        ("sources = ['a.c', '/x.c']", "10:19: targets.a.sources[1]: '/x.c' is outside the project"),
        (
            "kind = 'tea'",
            "10:1: targets.a.kind: 'tea' is not one of 'program', 'static-library', 'shared-library'",
        ),
        (
            "sources = ['a.c']\nneeds = [ # 'b'\n\t'A']",
            "12:2: targets.a.needs[0]: 'A' is not a target: did you mean 'a'?",
        ),
        ("sources = ['a.c']\nneeds = ['a']", "11:10: targets.a.needs[0]: 'a' is not a library"),
        (
            "sources = ['a.c']\nkind = 'static-library'\nneeds = ['a']",
            "12:10: targets.a.needs[0]: 'a' needs itself",
        ),
        ("sources = 'a.c'", "10:1: targets.a.sources: must be a list of strings"),
        (
            "sources = ['a.c']\n[profile]\nrelease . flags = 1",
            "12:11: profile.release.flags: must be a list of strings",
        ),
        ("sources = ['a.c']\n[targets.'é b']", "11:10: targets.\"é b\": 'é b' cannot be a target's name"),
        ("[target]", "10:2: target: is not known: did you mean 'targets'?"),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_the_place_is_that_of_the_key_and_of_no_text_like_it(text: str, told: str, line_end: str) -> None:
    with pytest.raises(ProjectInvalid) as raised:
        c_manifest.read(parse((NOT_KEYS + text).replace("\n", line_end), "vx.toml"))
    assert str(raised.value) == f"vx.toml:{told}"
    assert f"{raised.value.line}:{raised.value.column}" == told.partition(": ")[0]


def test_a_flag_that_is_refused_is_told_with_its_place() -> None:
    text = "sources = ['a.c']\nlink-flags = ['-lm',\n  '-o']"
    with pytest.raises(Unsupported) as raised:
        c_manifest.read(parse(NOT_KEYS + text, "vx.toml"))
    assert str(raised.value).startswith("vx.toml:12:3: the flag '-o' in targets.a is not supported by vx")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"[project]\nname = ", ":2:8: not TOML: invalid value"),
        (b"[project]\nname = '\xff'", ":2:9: is not UTF-8"),
        (b"a." * 100_000 + b"a = 1", ":1:1: nested deeper than 64 levels"),
        (b"#" * (MAX_MANIFEST_BYTES + 1), f": longer than {MAX_MANIFEST_BYTES} bytes"),
    ],
)
def test_a_hostile_file_is_refused_in_one_line(tmp_path, data: bytes, told: str) -> None:
    path = tmp_path / "vx.toml"
    path.write_bytes(data)
    with pytest.raises(ProjectInvalid) as raised:
        read_toml(str(path))
    assert str(raised.value) == f"{path}{told}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[commands.v]\noutputs = ["v.h"]\n', "commands.v.command: is missing"),
        ('[commands.v]\ncommand = ["sh"]\n', "commands.v.outputs: is missing"),
        ('[commands.v]\ncommand = ["./x"]\noutputs = ["v.h"]\n', "is not a program on the PATH"),
        ('[commands.v]\ncommand = ["sh"]\noutputs = ["../v.h"]\n', "'../v.h' is outside the project"),
        ('[commands.v]\ncommand = ["sh"]\noutputs = ["v"]\ngenerated = ["v"]\n', "'v' is not a command"),
        ('[targets.q]\nsources = ["a.c"]\ngenerated = ["w"]\n', "'w' is not a command"),
        ('[targets.q]\nsources = ["a.c"]\nversion-script = "a.map"\n', "is not for a program"),
        ('[targets.q]\nsources = ["a.c"]\n[targets.q.file-flags]\n"a.c" = ["-fplugin=x"]\n', "-fplugin=x"),
    ],
)
def test_what_is_wrong_with_a_command_or_a_targets_files_is_said(text: str, said: str) -> None:
    whole = '[project]\nname = "p"\n[targets.p]\nsources = ["a.c"]\n' + text
    with pytest.raises((ProjectInvalid, Unsupported), match=re.escape(said)):
        c_manifest.read(parse(whole, "vx.toml"))
