"""Projects that nobody here wrote: crates and a C program of Debian's, fetched by apt.

The crates are itoa and regex-syntax (of librust-itoa-dev and librust-regex-syntax-dev), the program is
ed (of the source package ed).  Skipped where apt or the network is not there.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def apt(*words: str, cwd: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        pytest.skip("no apt here: Debian's packages cannot be fetched")
    done = subprocess.run(["apt-get", "-q=2", *words], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"apt cannot fetch: {done.stderr.strip().splitlines()[-1:]}")


def debian_crate(name: str, into: Path) -> Path:
    """Fetch a crate's sources and return their directory."""
    apt("download", f"librust-{name}-dev", cwd=into)
    (package,) = into.glob(f"librust-{name}-dev_*.deb")
    subprocess.run(["dpkg-deb", "-x", package, into / "unpacked"], check=True)
    (found,) = (into / "unpacked/usr/share/cargo/registry").glob(f"{name}-[0-9]*")
    return found


@pytest.mark.parametrize(
    ("name", "main", "says"),
    [
        ("itoa", 'fn main() { println!("{}", itoa::Buffer::new().format(-128i64)); }', "-128\n"),
        (
            "regex-syntax",
            'fn main() { println!("{:?}", regex_syntax::Parser::new().parse("a+").unwrap().kind()); }',
            "Repetition(",
        ),
    ],
)
def test_a_crate_of_debians(rust, tmp_path, name: str, main: str, says: str) -> None:
    crate = debian_crate(name, tmp_path)
    alone = rust.project("alone")
    shutil.copytree(crate, alone.path, dirs_exist_ok=True)
    assert alone.executed("--release") == 1
    assert alone.executed("--release") == 0
    project = rust.crate("using", main, f'[dependencies]\n{name} = {{ path = "crate" }}\n')
    shutil.copytree(crate, project.path / "crate")
    assert project.executed("--release") == 2  # at another place below the root it is another library
    assert project.run("hello", "release").startswith(says)
    assert project.executed("--release") == 0
    assert rust.vx("verify").code == 0


ED = """\
[project]
name = "ed"

[targets.ed]
sources = ["*.c"]
defines = ['PROGVERSION="1.19"']
flags = ["-Wall", "-std=gnu99"]
"""


def test_a_c_program_of_debians(c, tmp_path) -> None:
    if not KEYRING.exists():
        pytest.skip("no keyring of Debian's here: its sources cannot be fetched")
    for name in ("lists/partial", "cache/archives/partial"):
        (tmp_path / name).mkdir(parents=True)
    sources = tmp_path / "sources.list"
    sources.write_text(f"deb-src [signed-by={KEYRING}] http://deb.debian.org/debian bookworm main\n")
    options = (
        *("-o", f"Dir::Etc::sourcelist={sources}", "-o", "Dir::Etc::sourceparts=-"),
        *("-o", f"Dir::State::lists={tmp_path}/lists", "-o", f"Dir::Cache={tmp_path}/cache"),
    )
    apt(*options, "update", cwd=tmp_path)
    apt(*options, "source", "--download-only", "ed", cwd=tmp_path)
    (archive,) = tmp_path.glob("ed_*.orig.tar.gz")
    project = c.project("ed")
    subprocess.run(["tar", "xzf", archive, "--strip-components=1", "-C", project.path], check=True)
    project.write("vx.toml", ED)
    assert project.executed("--release") == 9  # eight sources and the program
    assert project.executed("--release") == 0
    done = subprocess.run(
        [project.output("ed", "release"), "-s"],
        input="a\nhello\n.\ns/l/L/g\n,p\nQ\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "heLLo\n"
    other = c.project("elsewhere")
    shutil.copytree(project.path, other.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".vx"))
    assert other.executed("--release") == 0
