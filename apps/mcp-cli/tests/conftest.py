"""mcp-cli as its user has it: the command, in a sandbox, with servers that a test configures."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from daemonry.testing import Completed, Sandbox, wait_until

# No deadline for one example: on a busy machine it measures the machine.  The same examples each time, but
# for those who ask for more.
EXAMPLES = int(os.environ.get("DAEMONRY_EXAMPLES", "50"))
settings.register_profile("mcp-cli", deadline=None, max_examples=EXAMPLES, derandomize=EXAMPLES <= 50)
settings.load_profile("mcp-cli")

# `scripts/test-native` runs these tests over the native launcher, too.
COMMAND = Path(os.environ.get("MCP_CLI_UNDER_TEST") or Path(sys.executable).parent / "mcp-cli")
FAKE = Path(__file__).with_name("fake_server.py")


class App:
    """The command `mcp-cli` in a sandbox of its own."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.config_path = sandbox.path / "mcp_servers.toml"
        self.socket_path = sandbox.path / "run/mcp-cli/daemon.sock"
        self.tools = len(_constant("TOOLS"))

    def __call__(self, *words: str, stdin: str | None = None, **env: str) -> Completed:
        """Run `mcp-cli WORDS` to its end; without `stdin` it has none."""
        done = subprocess.run(
            [COMMAND, *words],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            env=self.sandbox.env | env,
            cwd=self.sandbox.path,
            timeout=60,
            check=False,
        )
        return Completed(done.returncode, done.stdout, done.stderr)

    def done(self, *words: str, **env: str) -> str:
        """Run `mcp-cli WORDS`, which must succeed without a complaint, and return what it printed."""
        ended = self(*words, **env)
        # How a busy machine starts a server is no complaint.
        complaints = re.sub(r"(?m)^\S+ has not answered yet.*\n", "", ended.err)
        assert (ended.code, complaints) == (0, ""), ended
        return ended.out

    def popen(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Begin `mcp-cli WORDS`."""
        options.setdefault("stdin", subprocess.DEVNULL)
        return self.sandbox.popen(COMMAND, *words, **options)

    def config(self, text: str) -> None:
        """Write the configuration, old enough to be remembered."""
        self.config_path.write_text(text)

    def settle(self) -> None:
        """Wait until the configuration is old enough for what was parsed of it to be remembered."""
        path = self.config_path

        def old() -> bool:
            import time

            return time.time_ns() - path.stat().st_ctime_ns > 2_050_000_000

        wait_until(old, what="the configuration to be two seconds old")

    def servers(self, **servers: list[str] | dict[str, Any]) -> None:
        """Configure fake servers: by name, their options, or a whole table."""
        tables = []
        for name, said in servers.items():
            table = said if isinstance(said, dict) else {"args": said}
            transport = {"type": "stdio", "command": sys.executable, **table.get("transport", {})}
            transport.setdefault("args", [str(FAKE), *table.get("args", [])])
            inline = ", ".join(f"{key} = {toml(value)}" for key, value in transport.items())
            rest = {key: value for key, value in table.items() if key not in ("args", "transport")}
            lines = [f"{key} = {toml(value)}" for key, value in rest.items()]
            tables.append(
                "\n".join(["[[servers]]", f'name = "{name}"', f"transport = {{ {inline} }}", *lines])
            )
        self.config("\n\n".join(tables) + "\n")

    def python(self, text: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program in the sandbox."""
        path = self.sandbox.path / "program.py"
        path.write_text(text)
        return subprocess.run(
            [sys.executable, path, *words],
            env=self.sandbox.env,
            cwd=self.sandbox.path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def talk(self, *words: str) -> Talk:
        """Begin `mcp-cli WORDS`, an MCP server on stdio, and be its client."""
        return Talk(self.popen(*words, stdin=subprocess.PIPE))

    def pid(self) -> int:
        """The daemon's process id."""
        return int(self("daemon", "status", "--json").json()["pid"])

    def running(self) -> bool:
        return self("daemon", "status").code == 0


class Talk:
    """A client of an MCP server on stdio, message by message."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.heard: list[dict[str, object]] = []
        self.asked = 0

    def send(self, **message: object) -> None:
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()

    def ask(self, method: str, **params: object) -> dict:
        """Ask, and return the answer; what comes before it is in `heard`."""
        self.asked += 1
        self.send(id=self.asked, method=method, params=params)
        return self.answer(self.asked)

    def answer(self, number: object) -> dict:
        while True:
            line = self.process.stdout.readline()
            assert line, self.process.stderr.read()
            message = json.loads(line)
            if message.get("id") == number and "method" not in message:
                return message
            self.heard.append(message)

    def begin(self) -> dict:
        client = {"name": "test", "version": "1"}
        begun = self.ask("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=client)
        self.send(method="notifications/initialized")
        return begun["result"]

    def end(self) -> int:
        self.process.stdin.close()
        code = self.process.wait(20)
        self.process.stdout.close()
        self.process.stderr.close()
        return code


def toml(value: object) -> str:
    """Return a value as TOML; of tables only those of strings."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(one)}" for key, one in value.items()) + " }"
    return json.dumps(value)


@pytest.fixture
def app(sandbox: Sandbox) -> Iterator[App]:
    """`mcp-cli` with one fake server; its daemon is stopped by its own command at the end."""
    app = App(sandbox)
    app.servers(fake=[])
    yield app
    stopped = app("daemon", "stop", "--force")
    assert stopped.code == 0, stopped
    assert not app.socket_path.exists()


def _constant(name: str) -> Any:
    """What the fake server has under a name: read out of its file, which is a program."""
    names = {}
    for node in ast.parse(FAKE.read_text()).body:
        if isinstance(node, ast.Assign):
            try:
                value = eval(compile(ast.Expression(node.value), str(FAKE), "eval"), {}, names)
            except NameError:
                continue
            names[ast.unparse(node.targets[0])] = value
    return names[name]


@pytest.fixture(scope="session")
def raw_text() -> str:
    """What the fake server's tool `raw` answers with."""
    return str(_constant("RAW"))


@pytest.fixture
def alive() -> object:
    """A function that says whether a process lives."""

    def is_alive(pid: int) -> bool:
        try:
            with open(f"/proc/{pid}/stat") as file:
                return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
        except OSError:
            return False

    assert os.path.isdir("/proc")
    return is_alive
