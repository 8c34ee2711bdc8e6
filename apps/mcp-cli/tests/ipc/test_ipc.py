"""S002 and S004: the names of the original's IPC, and what each of M1 to M10 asks of them."""

from __future__ import annotations

import ast
import asyncio
import os
import socket
import stat
from pathlib import Path

import pytest

import mcp_cli
from daemonry import errors
from mcp_cli import ipc
from mcp_cli.ipc import platform

PACKAGE = Path(mcp_cli.__file__).parent


def run(work):
    return asyncio.run(asyncio.wait_for(work, 20))


async def answer(server, clients=1, reply=lambda line: line.replace(b"ping", b"pong")):
    """Answer one line of each of so many clients."""

    async def one(stream):
        async with stream:
            await stream.write(reply(await stream.read_line()))

    await asyncio.gather(*[one((await server.accept())[0]) for _ in range(clients)])


async def ask(path, line):
    async with await ipc.create_ipc_client().connect(path) as stream:
        await stream.write(line)
        return await stream.read_line()


def test_m1_server_accepts_a_stream_and_an_address_and_a_client_connects(socket_path):
    async def scene():
        server = ipc.create_ipc_server(socket_path)
        connecting = asyncio.create_task(ipc.create_ipc_client().connect(str(socket_path)))
        stream, address = await server.accept()
        client = await connecting
        await client.write(b"a line\nand more")
        first = await stream.read_line()
        await client.write(b"!")
        rest = await stream.read()
        client.close()
        end = [await stream.read(), await stream.read()]
        stream.close()
        server.close()
        return isinstance(stream, ipc.IpcStream), address, first, rest, end

    is_stream, address, first, rest, end = run(scene())
    assert is_stream
    assert f"pid {os.getpid()}" in address
    assert first == b"a line\n"
    assert rest == b"and more"
    assert end == [b"!", b""]


def test_m2_the_factory_chooses_the_platform(socket_path):
    server = ipc.create_ipc_server(socket_path)
    assert server.path == str(socket_path)
    server.close()
    with pytest.raises(ipc.IpcError, match="Windows has no IPC here yet"):
        platform._refuse_windows("win32")


def test_m3_the_socket_is_in_the_runtime_directory(sandbox, monkeypatch):
    assert ipc.get_socket_path() == str(sandbox.path / "run/mcp-cli/daemon.sock")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    others = [f"/run/user/{os.geteuid()}/mcp-cli/daemon.sock", f"/tmp/mcp-cli-{os.geteuid()}/daemon.sock"]
    assert ipc.get_socket_path() in others


def test_m3_a_runtime_directory_that_others_may_enter_is_not_used(sandbox):
    (sandbox.path / "run").chmod(0o755)
    assert ipc.get_socket_path() != str(sandbox.path / "run/mcp-cli/daemon.sock")


def test_m4_a_server_makes_the_directory_and_removes_what_is_stale(tmp_path, capsys):
    path = tmp_path / "made/for/it/daemon.sock"
    left = socket.socket(socket.AF_UNIX)
    path.parent.mkdir(parents=True, mode=0o700)
    left.bind(str(path))
    left.close()
    server = ipc.create_ipc_server(path)
    found = path.lstat()
    assert stat.S_ISSOCK(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert "Warning: removing the stale socket" in capsys.readouterr().err
    server.close()
    assert not path.exists()
    fresh = ipc.create_ipc_server(tmp_path / "not/there/yet.sock")
    fresh.close()
    assert (tmp_path / "not/there").is_dir()


def test_m5_a_clients_errors_tell_the_path(socket_path, tmp_path):
    client = ipc.create_ipc_client()
    with pytest.raises(errors.IpcError, match=str(socket_path)):
        run(client.connect(str(socket_path)))
    a_file = tmp_path / "file"
    a_file.touch()
    with pytest.raises(ipc.IpcError, match=str(a_file)):
        run(client.connect(str(a_file)))


def test_m6_stale_and_refused_and_taken_are_told_apart(socket_path):
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(socket_path))
    left.close()
    with pytest.raises(ipc.StaleSocket, match="stale socket") as stale:
        run(ipc.create_ipc_client().connect(str(socket_path)))
    assert stale.value.path == str(socket_path)
    assert isinstance(stale.value, ipc.ConnectionRefused)
    assert isinstance(stale.value, OSError)  # the conversion from what the system said
    server = ipc.create_ipc_server(socket_path)
    with pytest.raises(ipc.SocketBindError, match="another process listens there") as taken:
        ipc.create_ipc_server(socket_path)
    assert taken.value.path == str(socket_path)
    assert taken.value.cause
    server.close()


def test_m7_several_clients_at_once(socket_path):
    async def scene():
        server = ipc.create_ipc_server(socket_path)
        serving = asyncio.create_task(answer(server, 20))
        lines = await asyncio.gather(*[ask(server.path, b"ping %d\n" % number) for number in range(20)])
        await serving
        server.close()
        return lines

    assert run(scene()) == [b"pong %d\n" % number for number in range(20)]


def test_m7_several_tasks_accept_at_once(socket_path):
    async def scene():
        server = ipc.create_ipc_server(socket_path)
        serving = [asyncio.create_task(answer(server)) for _ in range(5)]
        await asyncio.sleep(0)  # each of them waits
        lines = [await ask(server.path, b"ping %d\n" % number) for number in range(5)]
        await asyncio.gather(*serving)
        server.close()
        return lines

    assert run(scene()) == [b"pong %d\n" % number for number in range(5)]


def test_who_waits_for_a_connection_is_told_of_the_end(socket_path):
    async def scene():
        server = ipc.create_ipc_server(socket_path)
        accepting = [asyncio.create_task(server.accept()) for _ in range(3)]
        await asyncio.sleep(0)
        server.close()
        server.close()
        return await asyncio.gather(*accepting, return_exceptions=True)

    assert [str(error) for error in run(scene())] == [f"the server at {socket_path} is closed"] * 3


def test_m8_no_part_of_it_is_for_linux_only(socket_path, monkeypatch):
    """The other system has the same sockets; what differs is daemonry's, and chosen there."""
    monkeypatch.setattr("sys.platform", "darwin")
    server = ipc.create_ipc_server(socket_path)
    server.close()
    for path in (PACKAGE / "ipc").glob("*.py"):
        assert "linux" not in path.read_text().lower().replace("linux and macos", "")


def test_m9_the_package_gives_the_names_and_alone_names_platforms():
    for name in ("IpcServer", "IpcClient", "IpcStream", "create_ipc_server", "get_socket_path", "IpcError"):
        assert name in ipc.__all__
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name in ("ipc", "pool"):
            continue
        names = {
            node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)
        }
        assert not names & {"AF_UNIX", "UnixListener", "open_unix_connection", "start_unix_server"}, path


def test_m10_sockets_are_daemonrys():
    """One abstraction in the place of the crate: nothing in the commands or the IPC makes a socket itself."""
    for path in [*PACKAGE.glob("*.py"), *(PACKAGE / "ipc").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not {alias.name for alias in node.names} & {"socket", "_socket"}, path
            if isinstance(node, ast.ImportFrom):
                assert node.module not in ("socket", "_socket"), path


def test_a_large_message_arrives_whole(socket_path):
    message = b"x" * 100_000 + b"\n"

    async def scene():
        server = ipc.create_ipc_server(socket_path)
        serving = asyncio.create_task(answer(server, reply=lambda line: line))
        back = await ask(server.path, message)
        await serving
        server.close()
        return back

    assert run(scene()) == message


def test_a_line_without_end_is_refused(socket_path):
    async def scene():
        server = ipc.create_ipc_server(socket_path)
        client = await ipc.create_ipc_client().connect(server.path)
        stream, _ = await server.accept()
        await client.write(b"x" * 5000)
        with pytest.raises(errors.FrameTooLarge):
            await stream.read_line(max_bytes=1000)
        for one in (client, stream, server):
            one.close()
        return True

    assert run(scene())


def test_accept_after_close_says_so(socket_path):
    server = ipc.create_ipc_server(socket_path)
    server.close()
    server.close()
    with pytest.raises(ipc.IpcError, match="is closed"):
        run(server.accept())


def test_cleanup_removes_and_never_raises(tmp_path):
    path = tmp_path / "x.sock"
    path.touch()
    ipc.cleanup_socket_file(path)
    assert not path.exists()
    ipc.cleanup_socket_file(path)
    ipc.cleanup_socket_file(tmp_path)
    assert tmp_path.exists()
