"""Where HTTP is to be: what a program and an operator may say, and what they may not."""

import pytest

from daemonry.daemon.http_settings import Http, Part, is_loopback, of_environment
from daemonry.errors import ArgumentInvalid


@pytest.mark.parametrize(
    ("said", "bind", "port"),
    [
        ("on", "127.0.0.1", None),
        ("YES", "127.0.0.1", None),
        ("7654", "127.0.0.1", 7654),
        ("127.0.0.2:0", "127.0.0.2", 0),
        ("[::1]:7", "::1", 7),
        ("localhost:80", "localhost", 80),
    ],
)
def test_an_operator_names_a_port(said, bind, port):
    found = of_environment({"DAEMONRY_HTTP": said})
    assert (found.bind, found.port) == (bind, port)


@pytest.mark.parametrize("said", ["", "off", "no", " 0 "])
def test_or_says_no(said):
    assert of_environment({"DAEMONRY_HTTP": said}) is None
    assert of_environment({}) is None


@pytest.mark.parametrize(
    "said", ["onn", "http://x", "127.0.0.1", "127.0.0.1:", "1:2:x", "127.0.0.1:70000", ":-1"]
)
def test_what_is_no_address_is_refused_by_name(said):
    with pytest.raises(ArgumentInvalid):
        of_environment({"DAEMONRY_HTTP": said})


@pytest.mark.parametrize(
    "bind", ["0.0.0.0", "192.168.1.4", "::", "example.org", "127.0.0.1.evil.example", "1270.0.0.1"]
)
def test_beyond_loopback_has_to_be_said_twice(bind):
    assert not is_loopback(bind)
    with pytest.raises(ArgumentInvalid, match="beyond loopback"):
        Http(port=1, bind=bind)
    assert Http(port=1, bind=bind, beyond_loopback=True).bind == bind


def test_an_operator_says_it_twice_too():
    with pytest.raises(ArgumentInvalid, match="DAEMONRY_HTTP_BEYOND_LOOPBACK=yes"):
        of_environment({"DAEMONRY_HTTP": "0.0.0.0:7654"})
    said = {"DAEMONRY_HTTP": "0.0.0.0:7654", "DAEMONRY_HTTP_BEYOND_LOOPBACK": "yes"}
    assert of_environment(said).beyond_loopback


@pytest.mark.parametrize("port", [-1, 65536, True])
def test_a_port_is_a_number_that_ports_have(port):
    with pytest.raises(ArgumentInvalid):
        Http(port=port)


@pytest.mark.parametrize("name", ["", "a/b", "../x", "ä", "a b"])
def test_a_part_s_name_stands_in_addresses(name):
    with pytest.raises(ArgumentInvalid):
        Part(name, "Title", "/x.js", dict)
