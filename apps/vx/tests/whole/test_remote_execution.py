"""Compilations on another machine's workers: there if the result is the same, here in every other case."""

from __future__ import annotations

import pytest

SOURCES = {
    "vx.toml": '[project]\nname = "hello"\n\n[targets.hello]\nsources = ["src/*.c"]\n',
    "src/main.c": '#include <stdio.h>\nint main(void) { printf("%s\\n", "there"); return 0; }\n',
}


@pytest.fixture
def project(c, remote_server):
    """A project whose compilations run at a worker in the test's process."""
    remote_server.execute = remote_server.work
    c.env["VX_REMOTE_EXECUTE"] = remote_server.url
    one = c.project("hello")
    for name, text in SOURCES.items():
        one.write(name, text)
    return one


def jobs_there(app) -> int:
    return app.instance("rhea").status()["jobs_remote"]


def test_a_compilation_runs_there_and_is_known_here(project, c, remote_server) -> None:
    assert project.executed() == 2
    assert jobs_there(c) == 1  # the link runs here
    assert sum(remote_server.executed.values()) == 1
    assert project.run("hello") == "there\n"
    assert any(path.endswith("/stdio.h") for path in project.report()["actions"][0]["files"])
    assert project.executed() == 0


@pytest.mark.slow
def test_workers_with_another_compiler_compile_nothing_for_us(project, c, remote_server) -> None:
    def other(_name, request, context):
        from vx.remote.protos import remote_execution_pb2 as reapi

        action = reapi.Action.FromString(remote_server.blobs[request.action_digest.hash])
        command = reapi.Command.FromString(remote_server.blobs[action.command_digest.hash])
        command.arguments[2] = command.arguments[2].replace("--version", "-dumpmachine")
        remote_server.blobs[action.command_digest.hash] = command.SerializeToString()
        yield from remote_server.work("Execute", request, context)

    remote_server.execute = other
    told = project.build()
    assert "its workers have another cc; compiled here" in told["err"]
    assert (told["executed"], jobs_there(c)) == (2, 0)
    assert "its workers have another cc" in project.vx("explain").out


@pytest.mark.slow
def test_a_header_that_is_another_there_is_never_believed(project, c, remote_server) -> None:
    def other(_name, request, context):
        from vx.remote.protos import remote_execution_pb2 as reapi

        *begun, done = remote_server.work("Execute", request, context)
        response = reapi.ExecuteResponse()
        done.response.Unpack(response)
        (seen,) = [one for one in response.result.output_files if one.path.endswith("/seen")]
        lines = remote_server.blobs[seen.digest.hash].decode().split("\n")
        lines[1] = "0" * 64 + lines[1][64:]
        seen.digest.CopyFrom(remote_server.keep("\n".join(lines).encode()))
        done.response.Pack(response)
        yield from (*begun, done)

    remote_server.execute = other
    assert "its workers have another /" in project.build()["err"]
    assert jobs_there(c) == 0


def test_a_farm_that_is_gone_leaves_all_to_this_machine(project, c, remote_server) -> None:
    remote_server.stop()
    done = project.vx("build")
    assert done.code == 0, done
    (line,) = [line for line in done.err.splitlines() if "remote" in line]
    assert "UNAVAILABLE" in line
    assert line.endswith("done without it")
    assert project.run("hello") == "there\n"


@pytest.mark.slow
def test_an_output_that_is_gone_there_is_made_again_there(project, c, remote_server) -> None:
    def forgetful(name, request, context):
        *begun, done = remote_server.work(name, request, context)
        if not request.skip_cache_lookup:
            for digest, data in list(remote_server.blobs.items()):
                if data.startswith(b"\x7fELF"):
                    del remote_server.blobs[digest]
        yield from (*begun, done)

    remote_server.execute = forgetful
    assert project.executed() == 2
    assert jobs_there(c) == 1
    assert list(remote_server.executed.values()) == [2]


@pytest.mark.slow
@pytest.mark.parametrize("longer", [b"", b"\0"])
def test_an_output_with_another_content_than_its_digest_is_refused_and_made_here(
    project, c, remote_server, longer: bytes
) -> None:
    def wrong(data: bytes) -> bytes:
        return data[:-1] + bytes([data[-1] ^ 1]) + longer if data.startswith(b"\x7fELF") else data

    remote_server.spoil = wrong
    told = project.build()
    (line,) = [line for line in told["err"].splitlines() if "remote" in line]
    assert "bytes that are not" in line
    assert told["executed"] == 2
    assert jobs_there(c) == 0
    assert sum(remote_server.executed.values()) >= 1
    assert "bytes that are not" in project.vx("explain").out
    assert project.run("hello") == "there\n"


@pytest.mark.slow
def test_an_error_of_the_source_is_told_from_here(project, c) -> None:
    project.write("src/main.c", "int main(void) { return nothing; }\n")
    assert "nothing" in project.vx("build").err
    assert jobs_there(c) == 0


@pytest.mark.slow
def test_hybrid_uses_the_places_here_first(project, c, remote_server) -> None:
    c.env["VX_REMOTE_WHEN"] = "hybrid"
    c.env["VX_RHEA_JOBS"] = "64"
    assert project.executed() == 2
    assert sum(remote_server.executed.values()) == 0
