"""The lines of `top`: a tree, bounded and safe, with rates between two looks."""

from daemonry.cli.top.lines import (
    COLUMNS,
    GONE,
    MAX_LINES,
    Measured,
    cells,
    of_absent_home,
    of_rows,
    with_gone,
)
from daemonry.home.consumption import Use


def service(name, **more):
    row = {"kind": "service", "name": name, "daemon": None, "pid": 7, "state": "ready"}
    return {**row, "uptime_secs": 3, "version": None, "endpoint": None, **more}


def home(*services):
    row = {"kind": "home", "name": "site", "home": "/srv/site", "pid": 5, "state": "up", "uptime_secs": 9}
    return {**row, "version": "1", "endpoint": "unix:/srv/site/home.sock", "services": list(services)}


def daemon(name="adder", **more):
    row = {"kind": "daemon", "name": name, "pid": 4, "state": "running", "uptime_secs": 65, "version": "1"}
    return {**row, "endpoint": f"unix:/run/{name}.sock", "log": f"/state/{name}.log", **more}


def shown(line, before=None, now=None):
    return dict(zip(COLUMNS, cells(line, before or Measured(), now or Measured()), strict=True))


def test_services_stand_below_their_home_and_daemons_before():
    lines = of_rows([daemon(), home(service("store"), service("api", daemon="apid", endpoint="unix:/a"))])
    assert [line.label for line in lines] == ["adder", "site (home)", "├ store", "└ api (apid)"]
    assert [line.log_path for line in lines] == [
        "/state/adder.log",
        "/srv/site/home.log",
        "/srv/site/store.log",
        "/srv/site/api.log",
    ]


def test_rates_are_those_between_two_looks():
    before = Measured(Use(0, 1.0, 100, 10.0), 40)
    now = Measured(Use(3 << 20, 1.5, 130, 12.0), 100)
    found = shown(of_rows([daemon()])[0], before, now)
    assert (found["calls/s"], found["cpu %"], found["memory"], found["wake/s"]) == (
        "30.0",
        "25.0",
        "3.0 M",
        "15.0",
    )
    assert found["up"] == "1m 5s"


def test_a_process_that_was_started_anew_has_no_rates_yet():
    before = Measured(Use(1, 9.0, 100, 10.0), 40)
    now = Measured(Use(1, 0.1, 3, 11.0), 0)
    found = shown(of_rows([daemon()])[0], before, now)
    assert (found["calls/s"], found["cpu %"], found["wake/s"]) == ("", "", "")


def test_what_others_wrote_is_made_safe_and_cut():
    hostile = "\x1b]0;x\x07\u202e" + "n" * 500
    found = shown(of_rows([home(service(hostile, state=hostile, daemon=hostile[::-1]))])[1])
    for text in (found["name"], found["state"]):
        assert text.isprintable()
        assert len(text) < 250


def test_a_home_of_very_many_services_is_cut():
    assert len(of_rows([home(*(service(f"s{number}") for number in range(5000)))])) == MAX_LINES


def test_a_daemon_that_is_gone_stays_as_stopped_and_a_service_does_not():
    before = of_rows([daemon(), home(service("store"))])
    now = with_gone(before, of_rows([daemon("other")]))
    assert [(line.name, line.state) for line in now] == [
        ("other", "running"),
        ("adder", GONE),
        ("site", GONE),
    ]
    again = with_gone(now, of_rows([daemon()]))
    assert [(line.name, line.state) for line in again if line.name == "adder"] == [("adder", "running")]


def test_a_home_that_is_down_has_the_line_that_it_has_when_it_is_up():
    assert of_absent_home("/srv/site").key == of_rows([home()])[0].key
