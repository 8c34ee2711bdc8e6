"""How a new process of this program is started; frozen programs for real are `scripts/frozen.py`'s."""

import os
import subprocess
import sys
import textwrap
import types

import pytest

from daemonry.process.program import launching


def test_an_installed_daemonry_is_found_by_the_interpreter_itself():
    assert launching.words() == ("-m", "daemonry")
    assert launching.executable() == sys.executable
    assert launching.file() == ""


def test_where_the_interpreter_would_not_find_it_its_path_goes_along(monkeypatch):
    monkeypatch.setattr(launching, "_is_found_by_itself", lambda: False)
    dash_c, _, path = launching.words()
    assert dash_c == "-c"
    done = subprocess.run(
        [sys.executable, "-S", "-I", *launching.words(), "--version"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("daemonry ")
    assert path


def test_a_frozen_program_is_started_itself_and_unpacks_anew(monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "_MEIPASS", "/tmp/_MEI1", raising=False)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/tmp/_MEI1")
    assert launching.words() == ()
    assert launching.file() == sys.executable
    new = launching.environment({"LD_LIBRARY_PATH": "/tmp/_MEI1", "A": "b"})
    assert new == {"A": "b", "PYINSTALLER_RESET_ENVIRONMENT": "1"}
    monkeypatch.setenv("LD_LIBRARY_PATH_ORIG", "/usr/local/lib")
    assert launching.environment({"LD_LIBRARY_PATH": "/tmp/_MEI1"})["LD_LIBRARY_PATH"] == "/usr/local/lib"


APP = """
import sys
sys.frozen = True          # as PyInstaller's loader does
sys.executable = __file__  # the program is its own interpreter
from daemonry import Daemon, Interface, ensure
import os

daemon = Daemon("frozen")

@daemon.serve
class Frozen(Interface, name="org.example.frozen"):
    def who(self) -> int:
        return os.getpid()

if __name__ == "__main__":
    if sys.argv[1:] == ["who"]:
        with ensure(daemon) as client:
            print(client.call("org.example.frozen.Who")["result"])
    else:
        daemon.main()
"""


@pytest.mark.parametrize("kind", ["script", "module"])
def test_a_frozen_program_becomes_its_daemon_before_its_own_main(sandbox, kind):
    """The daemon is in the main script, or in a module that is being imported as daemonry is."""
    head = f"#!{sys.executable}\n"
    if kind == "script":
        program = sandbox.write("app", head + APP)
    else:
        sandbox.write(
            "part.py",
            APP.partition('if __name__ == "__main__"')[0].replace("sys.executable = __file__\n", ""),
        )
        main = """
            import os, sys
            sys.frozen = True
            program = os.path.abspath(__file__)
            sys.executable = program
            from part import daemon
            sys.executable = program
            import daemonry
            if sys.argv[1:] == ["who"]:
                with daemonry.ensure(daemon) as client:
                    print(client.call("org.example.frozen.Who")["result"])
            else:
                daemon.main()
        """
        program = sandbox.write("app", head + textwrap.dedent(main))
    program.chmod(0o755)
    first = sandbox.run(program, "who")
    assert first.code == 0, first.err
    assert sandbox.run(program, "who").out == first.out
    assert sandbox.run(program, "restart").code == 0
    assert sandbox.run(program, "who").out != first.out
    assert sandbox.run(program, "stop").out == "frozen: stopped\n"


def test_a_standalone_program_of_nuitka_is_started_itself_also_with_daemonry_as_bytecode(monkeypatch):
    """Only what Nuitka compiled has `__compiled__`: the main module always, daemonry not as bytecode."""
    made = types.SimpleNamespace(standalone=True)
    monkeypatch.setattr(sys.modules["__main__"], "__compiled__", made, raising=False)
    monkeypatch.setattr(sys, "argv", ["dist/app", "status"])
    monkeypatch.delenv("NUITKA_ONEFILE_BINARY", raising=False)
    assert (launching.executable(), launching.words()) == (os.path.abspath("dist/app"), ())
    made.standalone = False  # the interpreter is the usual one, and so is daemonry
    assert (launching.executable(), launching.words()) == (sys.executable, ("-m", "daemonry"))
