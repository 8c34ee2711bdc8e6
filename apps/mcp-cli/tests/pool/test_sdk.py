"""What is imported of the SDK, in processes of their own: an import happens once in each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mcp_cli import pool
from mcp_cli.pool import sdk
from mcp_cli.pool.stdio import COMMAND_END_S, END_S, StdioProcess
from mcp_cli.protocol.interfaces import INTERFACE

FAKE = Path(__file__).parents[1] / "fake_server.py"

WEB = "[name for name in ('starlette', 'sse_starlette', 'mcp.server') if name in sys.modules]"


def said(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\nfrom mcp_cli.pool import sdk\n{code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_process_of_ours_does_not_import_the_servers_of_the_sdk():
    assert said(f"sdk.trim()\nsdk.connection()\nprint({WEB})") == "[]\n"


@pytest.mark.slow
def test_a_program_of_somebody_else_has_the_sdk_whole():
    code = "sdk.connection()\nimport mcp, mcp.client.client\nprint(mcp.client.client.Server.__module__)"
    assert said(code) == "mcp.server.lowlevel.server\n"


def test_what_was_left_out_can_be_imported_afterwards():
    code = "sdk.trim()\nsdk.connection()\nfrom mcp.server import Server\nprint(Server('x').name)"
    assert said(code) == "x\n"


def test_garbage_is_collected_again_afterwards():
    assert said("import gc\nsdk.trim()\nsdk.connection()\nprint(gc.isenabled())") == "True\n"


@pytest.mark.slow
def test_an_sdk_whose_client_needs_more_of_its_servers_is_imported_whole():
    """It may, with any release: a command must not fail for what it saves."""
    code = (
        "def exec_module(self, module): raise ImportError(module.__name__)\n"
        "sdk._Finder.exec_module = exec_module\n"
        "sdk.trim()\nmodule = sdk.connection()\nimport mcp.client.client\n"
        "print(mcp.client.client.Server.__module__, module.Client is mcp.client.client.Client)"
    )
    assert said(code) == "mcp.server.lowlevel.server True\n"


@pytest.mark.parametrize(("for_command", "patience_s"), [(True, COMMAND_END_S), (False, END_S)])
def test_a_command_waits_less_for_the_end_of_its_servers(monkeypatch, for_command, patience_s):
    """It has its answer, and a server that does not end at the end of its input would hold up the prompt."""
    waited = []
    end = StdioProcess.end

    async def noted(self, patience_s=END_S):
        waited.append(patience_s)
        await end(self, patience_s)

    monkeypatch.setattr(StdioProcess, "end", noted)
    monkeypatch.setattr(sdk, "trim", lambda: None)  # this process is pytest's
    command = [sys.executable, str(FAKE)]
    server = {"name": "fake", "fingerprint": "1", "kind": "stdio", "command": command[0], "args": command[1:]}
    with pool.in_this_process(for_command=for_command) as direct:
        direct.call(f"{INTERFACE}.Configure", {"servers": [server]})
        call = {"server": "fake", "fingerprint": "1", "tool": "echo", "arguments": '{"text": "x"}'}
        assert [*direct.stream(f"{INTERFACE}.Call", call)][-1]["kind"] == "done"
    assert waited == [patience_s]
