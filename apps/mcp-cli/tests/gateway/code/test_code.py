"""`serve --code`: programs against the generated modules, and what bounds them."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from daemonry.testing import wait_until
from mcp_cli.gateway.code import program, runner


class Programs:
    """A client of `serve --code`."""

    def __init__(self, talk: Any) -> None:
        self.talk = talk

    def said(self, name: str, /, **given: object) -> tuple[str, bool]:
        result = self.talk.ask("tools/call", name=name, arguments=given)["result"]
        return result["content"][0]["text"], bool(result.get("isError"))

    def ran(self, code: str, **given: object) -> tuple[str, bool]:
        return self.said("run_program", code=code, **given)


@pytest.fixture
def programs(app: Any) -> Any:
    app.servers(fake=[], **{"far-off": []})
    talk = app.talk("serve", "--code")
    programs = Programs(talk)
    programs.begun = talk.begin()
    yield programs
    assert talk.end() == 0


def test_a_program_finds_declarations_and_calls_the_tools_of_several_servers(programs: Any) -> None:
    assert "tools.fake, tools.far_off" in programs.begun["instructions"]
    names = [tool["name"] for tool in programs.talk.ask("tools/list")["result"]["tools"]]
    assert names == ["search_tools", "describe_tools", "run_program"]
    assert programs.said("search_tools", query="say a text again")[0].startswith("tools.fake.echo: Says it")
    declared, _ = programs.said("describe_tools", names=["tools.fake.typed"])
    assert "def typed(*, right: bool | None = None) -> Result[TypedOutput]:" in declared
    assert "class TypedOutput(TypedDict):\n    n: " in declared
    code = (
        "from tools import fake, far_off\n"
        "print([far_off.echo(text=fake.echo(text=str(n)).text).text for n in range(3)])\n"
        "print(fake.typed(right=True).structured['n'])\n"
        "try:\n    fake.fail()\nexcept Exception as error:\n    print(type(error).__name__)\n"
        "try:\n    fake.crash()\nexcept Exception as error:\n    print(error)\n"
        "try:\n    fake.echo(text=7)\nexcept Exception as error:\n    print(error)\n"
    )
    text, failed = programs.ran(code)
    lines = text.splitlines()
    assert (lines[:3], failed) == (["['0', '1', '2']", "1", "ToolFailed"], False)
    assert "Whether the call was carried out is not known" in lines[3]
    assert "nothing was done" in lines[4]
    for name, given in (
        ("run_program", {}),
        ("run_program", {"code": "1", "timeout_secs": True}),
        ("run_program", {"code": "1", "timeout_secs": 601}),
        ("describe_tools", {"names": ["tools.fake.none"]}),
    ):
        assert programs.said(name, **given)[1], given
    assert programs.talk.ask("tools/call", name="fake__echo", arguments={})["error"]["code"] == -32602


@pytest.mark.slow
def test_a_program_that_fails_hangs_floods_or_takes_all_ends_and_the_next_runs(programs: Any) -> None:
    text, failed = programs.ran("def f():\n    return 1 / 0\nf()\n")
    assert (text.splitlines()[0], failed) == ("Traceback (most recent call last):", True)
    assert text.count("File ") == 2  # its own frames, and none of ours
    assert text.endswith("[the program failed: exit code 1]")
    assert "SyntaxError" in programs.ran("def")[0]
    assert programs.ran("raise SystemExit(3)") == ("[the program failed: exit code 3]", True)
    text, _ = programs.ran("print('a', flush=True)\nimport time\ntime.sleep(60)", timeout_secs=1)
    assert text == "a\n[the program failed: it took longer than 1 s, and was killed]"
    assert "MemoryError" in programs.ran("b'x' * (2 << 30)")[0]
    text, failed = programs.ran("print('x' * (1 << 20)); print('end')")
    assert (len(text) < runner.MAX_OUTPUT_BYTES + 100, text.endswith("end\n"), failed) == (True, True, False)
    assert "bytes are left out" in text
    assert programs.ran("import os; os.kill(os.getpid(), 9)")[0] == (
        "[the program failed: it was killed by signal 9]"
    )
    assert programs.ran("import sys; print(sys.stdin.read(), 1 + 1)") == (" 2\n", False)


@pytest.mark.slow
def test_what_a_program_started_ends_with_it_and_its_directory_is_gone(programs: Any, tmp_path: Path) -> None:
    code = (
        "import os, subprocess\n"
        "child = subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
        f"open({str(tmp_path / 'said')!r}, 'w').write(f'{{child.pid}} {{os.getcwd()}}')\n"
    )
    assert programs.ran(code) == ("", False)
    pid, directory = (tmp_path / "said").read_text().split()
    wait_until(lambda: not os.path.exists(f"/proc/{pid}") or _is_dead(pid), what="the child's end")
    assert not os.path.exists(directory)


def _is_dead(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.slow
def test_a_program_gets_no_variable_of_the_environment_and_no_network_where_that_is_said(
    programs: Any,
) -> None:
    assert programs.ran("import os; print('MCP_CONFIG_PATH' in os.environ)") == ("False\n", False)
    tools = programs.talk.ask("tools/list")["result"]["tools"]
    said = "It has no network" in tools[-1]["description"]
    assert said == runner.isolates()
    code = "import socket\nprint([name for _, name in socket.if_nameindex() if name != 'lo'])\n"
    if said:
        assert programs.ran(code) == ("[]\n", False)


def test_a_program_whose_network_cannot_be_taken_away_is_not_run() -> None:
    outcome = runner._outcome("", program.NETWORK_LEFT, 60)
    assert (outcome.failed, "not run" in outcome.text) == (True, True)
    assert "CPU time" in runner._outcome("", -signal.SIGXCPU, 60).text


@pytest.mark.slow
def test_a_cancelled_program_is_killed(programs: Any, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    code = f"import os, time\nopen({str(path)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)\n"
    given = {"name": "run_program", "arguments": {"code": code}}
    programs.talk.send(id=99, method="tools/call", params=given)
    wait_until(lambda: path.exists() and path.read_text() != "", what="the program")
    programs.talk.send(method="notifications/cancelled", params={"requestId": 99})
    wait_until(lambda: _is_dead(path.read_text()), what="the program's end")


def test_lazy_and_code_are_not_given_together(app: Any) -> None:
    ended = app("serve", "--lazy", "--code")
    assert (ended.code, "--lazy" in ended.err) == (2, True)
