"""Several machines with one cache: each is a home of its own, with a checkout of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daemonry import Instance, Place
from daemonry.testing import wait_until

MANIFEST = '[project]\nname = "hello"\n\n[targets.hello]\nsources = ["src/*.c"]\ninclude = ["include"]\n'
MAIN = '#include <stdio.h>\n#include "limit.h"\nint main(void) { printf("%d\\n", LIMIT); return 0; }\n'


class Machine:
    """A home behind which the cache is, and a checkout."""

    def __init__(self, app, server, name: str) -> None:
        self.app = app
        self.env = {"VX_HOME": str(app.sandbox.path / name), "VX_REMOTE_CACHE": server.url}
        self.project = app.project(name)
        self.project.write("vx.toml", MANIFEST)
        self.project.write("src/main.c", MAIN)
        self.set_limit(3)

    def set_limit(self, limit: int) -> None:
        self.project.write("include/limit.h", f"#define LIMIT {limit}\n")

    def executed(self, **env: str) -> int:
        return self.project.executed(**self.env, **env)

    def sent(self) -> None:
        """Wait until all results went up."""
        cass = Instance(Place(self.env["VX_HOME"], "cass", self.env["VX_HOME"]))
        wait_until(lambda: cass.status()["remote_waiting"] == 0, 10, "all results went up")

    def kill(self) -> None:
        assert self.app.vx("kill", **self.env).code == 0


@pytest.fixture
def machine(c, remote_server) -> Iterator[Callable[[str], Machine]]:
    """Makes machines; their services are ended."""
    made = []

    def make(name: str) -> Machine:
        made.append(Machine(c, remote_server, name))
        return made[-1]

    yield make
    for one in made:
        one.kill()


def test_a_clean_checkout_on_a_second_machine_compiles_nothing(machine) -> None:
    one, other = machine("one"), machine("other")
    assert one.executed() == 2
    one.sent()
    assert other.executed() == 0
    assert other.project.run("hello") == "3\n"
    assert {entry["outcome"] for entry in other.project.report()["actions"]} == {"cached"}


@pytest.mark.slow
def test_a_branch_that_another_machine_built_is_found(machine) -> None:
    """The list of what a recipe was met with is longer there than the one that is here already."""
    one, other = machine("one"), machine("other")
    assert one.executed() == 2
    one.sent()
    other.set_limit(4)
    assert other.executed() == 2
    other.sent()
    one.set_limit(4)
    assert one.executed() == 0
    assert one.project.run("hello") == "4\n"


@pytest.mark.slow
def test_another_compiler_never_gets_this_ones_results(machine, c) -> None:
    one, other = machine("one"), machine("other")
    assert one.executed() == 2
    one.sent()
    compiler = Path(c.sandbox.path / "cc-other")
    compiler.write_text('#!/bin/sh\n[ "$*" = --version ] && { echo "cc 99"; exit; }\nexec cc "$@"\n')
    compiler.chmod(0o755)
    assert other.executed(CC=str(compiler)) == 2


def test_a_cache_that_fails_fails_no_build_and_is_told_in_one_line(machine, remote_server) -> None:
    remote_server.fault = remote_server.unavailable
    one = machine("one")
    done = one.project.vx("build", **one.env)
    assert done.code == 0, done
    (line,) = [line for line in done.err.splitlines() if "remote" in line]
    assert line.startswith(f"vx: remote {remote_server.url}: UNAVAILABLE: being")
    assert line.endswith("; done without it")
    explained = one.project.vx("explain", **one.env).out
    assert line.removeprefix("vx: ") in explained
    null = one.project.vx("build", **one.env)
    assert (null.code, "remote" in null.err) == (0, False), null  # it asks for nothing
    one.project.write("src/main.c", "int main(void) { return 3; }\n")
    done = one.project.vx("build", **one.env)
    assert done.code == 0, done
    (line,) = [line for line in done.err.splitlines() if "remote" in line]
    assert line.endswith(": it failed, and is not asked again for 30 s; done without it")


@pytest.mark.slow
def test_an_output_that_the_cache_evicted_is_made_again(machine, remote_server) -> None:
    one, other = machine("one"), machine("other")
    one.executed()
    one.sent()
    programs = [name for name, data in remote_server.blobs.items() if data.startswith(b"\x7fELF")]
    for name in programs:
        del remote_server.blobs[name]
    assert other.executed() == 1  # the program: the object file came along with its entry
    assert other.project.run("hello") == "3\n"


@pytest.mark.slow
def test_a_wrong_setting_is_refused_by_name(machine, c) -> None:
    one = machine("one")
    done = one.project.vx("build", **{**one.env, "VX_REMOTE_CACHE": "http://cache:1"})
    assert done.code == 1
    assert "VX_REMOTE_CACHE: 'http://cache:1' is neither grpc://HOST:PORT" in done.err


@pytest.mark.slow
def test_an_option_has_aether_started_again_with_it(machine, remote_server) -> None:
    one = machine("one")
    del one.env["VX_REMOTE_CACHE"]
    assert one.executed() == 2
    option = f"--remote_cache={remote_server.url}"
    one.set_limit(4)
    done = one.project.vx("build", option, **one.env)
    assert "started again, with the remote of this command" in done.err
    one.sent()
    assert remote_server.results
    assert "started again" not in one.project.vx("build", option, **one.env).err
    refused = one.project.vx("build", "--remote_cache=cache", **one.env)
    assert refused.code == 2
    assert "cache = 'cache' is neither" in refused.err
