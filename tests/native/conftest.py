"""What the launcher's tests share: it, compiled once a run, beside a Python command."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "native"
# As the launcher's build has them; that file imports the build system, which need not be here.
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")


def compiled(directory, *more):
    """Compile the launcher as `daemonry` into a directory, with a Python command beside it."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler, and Linux")
    directory.mkdir(exist_ok=True)
    words = [compiler, *FLAGS, *more, "-o", directory / "daemonry", NATIVE / "launcher.c"]
    subprocess.run(words, check=True)
    script = (ROOT / "scripts/commands/daemonry").read_text().replace("#!python", f"#!{sys.executable}", 1)
    (directory / "daemonry-python").write_text(script)
    (directory / "daemonry-python").chmod(0o755)
    return directory


@pytest.fixture(scope="session")
def native(tmp_path_factory):
    """The directory of a compiled launcher."""
    return compiled(tmp_path_factory.mktemp("native") / "bin")


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory):
    """The same, ended by the sanitizers at the first access beyond bounds or undefined step."""
    options = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    return compiled(tmp_path_factory.mktemp("sanitized") / "bin", *options)


@pytest.fixture(scope="session")
def installer():
    """The module that puts the launcher in the place of a command."""
    source = NATIVE / "src/daemonry_native/__init__.py"
    spec = importlib.util.spec_from_file_location("daemonry_native", source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
