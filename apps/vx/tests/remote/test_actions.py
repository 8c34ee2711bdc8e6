"""A job as an Action: which go to workers, and the script that runs there."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from vx.interfaces import Input, Job
from vx.remote import actions
from vx.remote.digest_functions import DigestFunction, RemoteDigest
from vx.remote.failures import RemoteFailed
from vx.remote.protos import remote_execution_pb2 as reapi
from vx.reproducible import JOB_ENVIRONMENT

SHA256 = DigestFunction(1, "")
COMPILE = Job(
    command=["/usr/bin/cc", "-c", "src/a b.c", "-o", "out/a.o", "-MD", "-MF", "out/a.d", "-DROOT=%{root}"],
    inputs=[Input("src/a b.c", "ab" * 32)],
    outputs=["out/a.o"],
    dep_files=["out/a.d"],
    tool="cc",
    env={"PLACE": "%{root}/x"},
)


@pytest.mark.parametrize(
    ("changed", "goes"),
    [
        ({}, True),
        ({"tool": "step"}, False),
        ({"dep_files": []}, False),  # a link: nothing tells which libraries it reads there
        ({"output_dirs": ["gen"]}, False),
        ({"command": ["tool"]}, False),
        ({"inputs": [Input("x", "ab" * 32, marked=True)]}, False),
        ({"tool": "rustc", "outputs": ["libx.rlib"]}, True),
        ({"tool": "rustc", "outputs": ["program"]}, False),
    ],
)
def test_compilations_go_there_and_nothing_else(changed: dict, goes: bool) -> None:
    assert actions.goes_there(msgspec.structs.replace(COMPILE, **changed)) is goes


def made(compiler: str, platform: dict[str, str] | None = None) -> actions.RemoteAction:
    inputs = {"src/a b.c": RemoteDigest("ab" * 32, 3), "src/deep/x.h": RemoteDigest("cd" * 32, 1)}
    return actions.action(COMPILE, ["out"], inputs, compiler, platform or {}, 60, SHA256)


def test_the_compiler_and_the_platform_are_in_the_actions_name() -> None:
    assert made("1" * 64).digest == made("1" * 64).digest
    assert made("1" * 64).digest != made("2" * 64).digest
    assert made("1" * 64).digest != made("1" * 64, {"OSFamily": "linux"}).digest


def test_directories_are_nested_messages() -> None:
    found = made("1" * 64)
    action = reapi.Action.FromString(found.blobs[found.digest])
    by_hash = {digest.hash: data for digest, data in found.blobs.items()}
    above = reapi.Directory.FromString(by_hash[action.input_root_digest.hash])
    assert [one.name for one in above.directories] == [actions.ROOT_FOLDER]
    root = reapi.Directory.FromString(by_hash[above.directories[0].digest.hash])
    assert [one.name for one in root.directories] == ["src"]
    source = reapi.Directory.FromString(by_hash[root.directories[0].digest.hash])
    assert [one.name for one in source.files] == ["a b.c"]
    assert [one.name for one in source.directories] == ["deep"]


def run(script: str, folder: Path, compiler: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**JOB_ENVIRONMENT, "VX_COMPILER": compiler}
    return subprocess.run(
        ["/bin/sh", "-c", script], cwd=folder, env=environment, capture_output=True, check=False
    )


def test_the_script_compiles_and_lists_what_was_read(tmp_path: Path) -> None:
    if shutil.which("cc", path="/usr/bin") is None:
        pytest.skip("no /usr/bin/cc")
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a b.c").write_text("#include <stdint.h>\nint32_t x;\n")
    identity = run(actions.identity_script(COMPILE), Path("/"), "").stdout
    assert identity.count(b"  -\n") >= 2  # the driver and the program that it runs
    done = run(actions.script(COMPILE, ["out"]), tmp_path, hashlib.sha256(identity).hexdigest())
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "out/a.o").exists()
    seen = actions.seen((tmp_path / actions.SEEN).read_bytes())
    assert seen.root == str(tmp_path)
    header = "/usr/include/stdint.h"
    assert seen.files[header] == hashlib.sha256(Path(header).read_bytes()).hexdigest()


NOTE = bytes.fromhex("040000001400000003000000474e5500") + b"i" * 20
BIG_ENDIAN_NOTE = bytes.fromhex("000000040000001400000003474e5500") + b"i" * 20


@pytest.mark.parametrize(
    ("note", "changed_at", "is_other"),
    [
        (NOTE, 600, True),  # the build ID itself
        (NOTE, -1, True),
        (NOTE, 8000, False),  # the linker's digest stands for what is between
        (BIG_ENDIAN_NOTE, 600, True),
        (BIG_ENDIAN_NOTE, 8000, False),
        (b"", 8000, True),
        (b"\1" + NOTE[1:], 8000, True),  # another note
    ],
)
def test_a_compilers_parts_are_known_by_build_id_or_whole(
    tmp_path: Path, note: bytes, changed_at: int, is_other: bool
) -> None:
    part, tool = tmp_path / "part", tmp_path / "tool"
    part.write_bytes(b"\x7fELF".ljust(596, b"\0") + note.ljust(16000, b"\0"))
    part.chmod(0o755)
    tool.write_text(f"#!/bin/sh\nif [ $1 = -print-prog-name=cc1 ]; then echo {part}; else echo 1.2; fi\n")
    tool.chmod(0o755)
    job = msgspec.structs.replace(COMPILE, command=[str(tool), *COMPILE.command[1:]])
    first = run(actions.identity_script(job), Path("/"), "").stdout
    assert first.count(b"  -\n") == 2  # the driver and its part
    content = bytearray(part.read_bytes())
    content[changed_at] ^= 1
    part.write_bytes(content)
    assert (run(actions.identity_script(job), Path("/"), "").stdout != first) is is_other
    part.write_bytes(content + b"\0")
    assert run(actions.identity_script(job), Path("/"), "").stdout != first


@pytest.mark.parametrize("count", [0, 255, 256, 257, 600])
def test_files_are_listed_however_many_they_are(tmp_path: Path, count: int) -> None:
    (tmp_path / "h").mkdir()
    headers = [tmp_path / "h" / f"{number}.h" for number in range(count)]
    for number, header in enumerate(headers):
        header.write_text(f"{number}\n")
    tool = tmp_path / "tool"
    written = "".join(f" {header}" for header in headers)
    tool.write_text(f"#!/bin/sh\ncat > out/a.d <<'EOF'\na.o:{written}\nEOF\n")
    tool.chmod(0o755)
    job = msgspec.structs.replace(COMPILE, command=[str(tool)])
    (tmp_path / "work/out").mkdir(parents=True)
    identity = run(actions.identity_script(job), tmp_path / "work", "").stdout
    (tmp_path / "work/out/a.d").unlink()
    done = run(actions.script(job, ["out"]), tmp_path / "work", hashlib.sha256(identity).hexdigest())
    assert (done.returncode, done.stderr) == (0, b"")
    files = actions.seen((tmp_path / "work" / actions.SEEN).read_bytes()).files
    assert files == {str(one): hashlib.sha256(one.read_bytes()).hexdigest() for one in headers}


def test_another_compiler_runs_nothing(tmp_path: Path) -> None:
    done = run(actions.script(COMPILE, ["out"]), tmp_path, "0" * 64)
    assert done.returncode == actions.OTHER_COMPILER
    assert b"another compiler" in done.stderr
    assert not (tmp_path / "out/a.o").exists()


@pytest.mark.parametrize("text", [b"", b"relative", b"/root\nshort  /x", b"/root\n" + b"a" * 64 + b"  x"])
def test_another_list_is_refused(text: bytes) -> None:
    with pytest.raises(RemoteFailed, match="cannot be read"):
        actions.seen(text)
