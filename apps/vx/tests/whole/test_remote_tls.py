"""A cache with TLS, client certificates, headers and a credential helper, as a user of `vx build` has it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from daemonry.testing import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def project(c: Any) -> Any:
    one = c.project("hello")
    one.write("vx.toml", '[project]\nname = "hello"\n\n[targets.hello]\nsources = ["src/*.c"]\n')
    one.write("src/main.c", '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n')
    return one


def test_bazels_options_reach_a_server_that_wants_all_of_them(
    project, c, authorities, tls_server, tmp_path: Path
) -> None:
    ours, _ = authorities
    server = tls_server(ours.sign("server"), clients=ours)
    certificate, key = ours.sign("me", "me")
    helper = tmp_path / "helper"
    answer = json.dumps({"headers": {"Authorization": ["Bearer secret"]}})
    helper.write_text(f"#!/bin/sh\necho '{answer}'\n")
    helper.chmod(0o755)
    options = [
        f"--remote_cache={server.url}",
        f"--tls_certificate={ours.path}",
        f"--tls_client_certificate={certificate}",
        f"--tls_client_key={key}",
        f"--credential_helper={helper}",
        "--remote_header=x-team=blue",
    ]
    told = project.build(*options)
    assert (told["executed"], "remote" in told["err"]) == (2, False)
    cass = c.instance("cass")
    wait_until(lambda: cass.status()["remote_waiting"] == 0, 10, "all results went up")
    assert server.headers["x-team"] == "blue"
    assert server.headers["authorization"] == "Bearer secret"
    assert "secret" not in "".join(path.read_text() for path in Path(c.home).glob("*.log"))
    c.kill()
    shutil.rmtree(c.home)
    shutil.rmtree(project.path / ".vx")
    assert project.build(*options)["executed"] == 0


@pytest.mark.parametrize(
    ("made", "trusted", "told"),
    [
        ({}, 1, "its certificate is not trusted"),
        ({"days": -1}, 0, "its certificate has expired"),
        ({"host": "other.example"}, 0, "its certificate is for another host"),
    ],
)
def test_a_server_that_is_not_trusted_is_one_line_and_the_build_ends_here(
    project, authorities, tls_server, made: dict[str, Any], trusted: int, told: str
) -> None:
    server = tls_server(authorities[0].sign("server", **made))
    done = project.vx(
        "build", f"--remote_cache={server.url}", f"--tls_certificate={authorities[trusted].path}"
    )
    assert done.code == 0, done
    (line,) = [line for line in done.err.splitlines() if "remote" in line]
    assert told in line
    assert line.endswith("; done without it")
    assert project.run("hello") == "hello\n"
