"""What the launcher's tests share: it, compiled once a run, beside a Python command."""

import importlib.machinery
import importlib.util
import os
import shutil
import socket
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "native"
# As the builds have them; that file imports the build system, which need not be here.
MODULE = ("-O3", "-fPIC", "-shared", "-D_GNU_SOURCE", "-DPy_LIMITED_API=0x030B0000")
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")


def compiled(directory, *more):
    """Compile the launcher as `daemonry` into a directory, with a Python command beside it."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler, and Linux")
    directory.mkdir(exist_ok=True)
    words = [compiler, *FLAGS, *more, "-o", directory / "daemonry", NATIVE / "launcher/launcher.c"]
    subprocess.run(words, check=True)
    installer_module().link(directory)
    with_python(directory, ROOT / "scripts/commands/daemonry")
    return directory


def with_python(directory, script):
    """Put the launcher under a script's name into a directory, and the script beside it."""
    command, python = directory / script.name, directory / f"{script.name}-python"
    if not command.exists():
        os.link(directory / "daemonry", command)
    python.write_text(script.read_text().replace("#!python", f"#!{sys.executable}", 1))
    python.chmod(0o755)
    return command


@pytest.fixture(scope="session")
def native(tmp_path_factory):
    """The directory of a compiled launcher."""
    return compiled(tmp_path_factory.mktemp("native") / "bin")


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory):
    """The same, ended by the sanitizers at the first access beyond bounds or undefined step."""
    options = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    return compiled(tmp_path_factory.mktemp("sanitized") / "bin", *options)


def telling(directory, native, name="daemonry"):
    """Put the launcher into a directory, and beside it a command that tells of it; return the launcher."""
    directory.mkdir(exist_ok=True)
    command = directory / name
    command.unlink(missing_ok=True)
    os.link(native / "daemonry", command)
    for path in native.glob(".*-launcher"):
        copy = directory / path.name
        copy.unlink(missing_ok=True)
        copy.symlink_to(path.readlink())
    (directory / f"{name}-python").write_text('#!/bin/sh\necho "python $*"\n')
    (directory / f"{name}-python").chmod(0o755)
    return command


@pytest.fixture(scope="session")
def installer():
    """The module that puts the launcher in the place of a command."""
    return installer_module()


def installer_module():
    """Return the module that puts the launcher in the place of a command."""
    source = NATIVE / "src/daemonry_native/__init__.py"
    spec = importlib.util.spec_from_file_location("daemonry_native", source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def loaded(name, path):
    """Return a module of a file."""
    loader = importlib.machinery.ExtensionFileLoader if path.suffix == ".so" else None
    made = loader(name, str(path)) if loader else None
    spec = importlib.util.spec_from_file_location(name, path, loader=made)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def module_dir(tmp_path_factory):
    """A directory for PYTHONPATH with `daemonry_native.calls`, compiled from here."""
    compiler, headers = shutil.which(os.environ.get("CC", "cc")), Path(sysconfig.get_path("include"))
    if compiler is None or not sys.platform.startswith("linux") or not (headers / "Python.h").exists():
        pytest.skip("needs a C compiler, Python's headers, and Linux")
    package = tmp_path_factory.mktemp("module") / "daemonry_native"
    package.mkdir()
    shutil.copy(NATIVE / "src/daemonry_native/__init__.py", package)
    words = [compiler, *FLAGS, *MODULE, "-isystem", headers, "-o", package / "calls.abi3.so"]
    subprocess.run([*words, NATIVE / "calls/calls.c"], check=True)
    return package.parent


@pytest.fixture(scope="session")
def calls(module_dir):
    """The module itself."""
    return loaded("daemonry_native.calls", module_dir / "daemonry_native/calls.abi3.so")


@pytest.fixture
def pair():
    """Two connected sockets; the first ends its reads after a tenth of a second."""
    near, far = socket.socketpair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 100_000))
    with near, far:
        yield near, far
