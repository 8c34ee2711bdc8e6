"""Where a home's files are, for every service and everyone who looks for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from daemonry.errors import EndpointInvalid
from vx import home


def test_all_of_a_home_is_in_vx_home() -> None:
    environ = {"VX_HOME": "/tmp/.vx-for-tests", "HOME": "/home/me"}
    for service in home.SERVICES:
        assert home.endpoint(service, environ).address == f"/tmp/.vx-for-tests/{service}.sock"
        assert home.log_path(service, environ) == f"/tmp/.vx-for-tests/{service}.log"
        place = home.place(service, environ)
        assert place.socket_path == f"/tmp/.vx-for-tests/{service}.sock"
        assert place.log_path == f"/tmp/.vx-for-tests/{service}.log"
    assert home.store_dir(environ) == "/tmp/.vx-for-tests/cass"
    assert home.scratch_dir(environ) == "/tmp/.vx-for-tests/rhea"


@pytest.mark.parametrize("given", [{}, {"VX_HOME": ""}])
def test_without_vx_home_it_is_in_the_users(given: dict[str, str]) -> None:
    assert home.home_dir({"HOME": "/home/me/", **given}) == "/home/me/.vx"


@pytest.mark.parametrize("environ", [{}, {"HOME": ""}, {"HOME": "relative"}])
def test_without_any_home_it_is_said_what_to_set(environ: dict[str, str]) -> None:
    with pytest.raises(home.HomeInvalid, match="set VX_HOME or HOME"):
        home.home_dir(environ)


def test_a_relative_home_is_made_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/usr")
    assert home.home_dir({"VX_HOME": "lib/../x/"}) == "/usr/x"


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ("unix:/run/c.sock", "unix"),
        ("/run/c.sock", "unix"),
        ("127.0.0.1:9002", "tcp"),
        (" tcp://h:1 ", "tcp"),
    ],
)
def test_a_variable_names_another_endpoint(given: str, kind: str) -> None:
    environ = {"VX_HOME": "/h", "VX_CASS": given}
    assert home.endpoint(home.CASS, environ).kind == kind
    assert home.endpoint(home.RHEA, environ).address == "/h/rhea.sock"


def test_a_variable_that_names_no_endpoint_is_told() -> None:
    with pytest.raises(EndpointInvalid):
        home.endpoint(home.CASS, {"VX_HOME": "/h", "VX_CASS": "smoke-signals://hill"})


def test_a_daemons_own_command_says_it_too() -> None:
    ended = subprocess.run(
        [Path(sys.executable).parent / "vx-cass", "status"],
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "set VX_HOME or HOME" in ended.stderr
    assert "Traceback" not in ended.stderr
