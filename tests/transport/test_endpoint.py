"""Endpoints: what each text means, what is said about one that means nothing, and the way back to text."""

import os
import pickle

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from daemonry import Client
from daemonry.errors import EndpointInvalid
from daemonry.transport.endpoint import FD, PIPE, SSH, TCP, UNIX, Endpoint

VALID = {
    "unix:/run/x.sock": (Endpoint("/run/x.sock", UNIX), "unix:/run/x.sock"),
    "/run/x.sock": (Endpoint("/run/x.sock", UNIX), "unix:/run/x.sock"),
    "  /run/x.sock\n": (Endpoint("/run/x.sock", UNIX), "unix:/run/x.sock"),
    "/with a blank/x:y": (Endpoint("/with a blank/x:y", UNIX), "unix:/with a blank/x:y"),
    "unix:/tcp:1": (Endpoint("/tcp:1", UNIX), "unix:/tcp:1"),
    "unix:@name": (Endpoint("@name", UNIX), "unix:@name"),
    "tcp:localhost:80": (Endpoint("localhost", TCP, 80), "tcp:localhost:80"),
    "tcp://localhost:80": (Endpoint("localhost", TCP, 80), "tcp:localhost:80"),
    "localhost:80": (Endpoint("localhost", TCP, 80), "tcp:localhost:80"),
    "127.0.0.1:0": (Endpoint("127.0.0.1", TCP, 0), "tcp:127.0.0.1:0"),
    "[::1]:65535": (Endpoint("::1", TCP, 65535), "tcp:[::1]:65535"),
    "tcp:[fe80::1%eth0]:1": (Endpoint("fe80::1%eth0", TCP, 1), "tcp:[fe80::1%eth0]:1"),
    "fd:3": (Endpoint("", FD, 3), "fd:3"),
    "fd:3;open": (Endpoint("", FD, 3, "open"), "fd:3;open"),
    "tcp://h:80;open": (Endpoint("h", TCP, 80, "open"), "tcp:h:80;open"),
    "[::1]:80;token=/a b;c": (Endpoint("::1", TCP, 80, "/a b;c"), "tcp:[::1]:80;token=/a b;c"),
    "unix:/x;open": (Endpoint("/x;open", UNIX), "unix:/x;open"),
    "ssh:box/svc": (Endpoint("box", SSH, target="svc"), "ssh:box/svc"),
    "ssh://me@box:2222/svc": (Endpoint("me@box", SSH, 2222, target="svc"), "ssh:me@box:2222/svc"),
    "ssh:[::1]/svc": (Endpoint("::1", SSH, target="svc"), "ssh:[::1]/svc"),
    "ssh:me@[fe80::1%eth0]:22/svc": (
        Endpoint("me@fe80::1%eth0", SSH, 22, target="svc"),
        "ssh:me@[fe80::1%eth0]:22/svc",
    ),
    "ssh:box//run/x.sock": (Endpoint("box", SSH, target="/run/x.sock"), "ssh:box//run/x.sock"),
    "ssh:box/svc;start=a.b:c": (
        Endpoint("box", SSH, target="svc", start="a.b:c"),
        "ssh:box/svc;start=a.b:c",
    ),
    "pipe:my.app-1_x": (Endpoint("my.app-1_x", PIPE), "pipe:my.app-1_x"),
}

INVALID = {
    "": "expected unix:/path",
    "   ": "expected unix:/path",
    "nonsense": "expected unix:/path",
    "relative/x.sock": "expected unix:/path",
    "unix:": "there is no path",
    "unix:x.sock": "must be absolute",
    "unix:./x.sock": "must be absolute",
    "unix:@": "no name after the @",
    "unix:@a\0b": "NUL byte",
    "/a\0b": "NUL byte",
    "/a\ud800b": "no file can be called so",
    "/": "names a directory",
    "/run/": "names a directory",
    "/run/.": "names a directory",
    "unix:/run/..": "names a directory",
    "http://localhost:80": "scheme 'http' is not known",
    "ssh://host": "expected ssh:host/NAME",
    "ssh:host/": "expected ssh:host/NAME",
    "ssh:host/x;stop=y": "'start=PROGRAM'",
    "ssh:host/x;start=": "'start=PROGRAM'",
    "ssh:host:0x/y": "is not a port",
    "ssh:host:0/y": "is not a port (1 to 65535)",
    "ssh:-oProxyCommand=reboot/x": "is not a valid host",
    "ssh:me@-oProxyCommand/x": "is not a valid host",
    "ssh:@host/x": "is not a valid host",
    "ssh:a b/x": "is not a valid host",
    "ssh:/x": "is not a valid host",
    "ssh:::1/x": "stands in brackets",
    "ssh:host:22:22/x": "stands in brackets",
    "ssh:[host]/x": "is not a valid host",
    "ssh:[]/x": "is not a valid host",
    "ssh:[-o::1]/x": "is not a valid host",
    "ssh:a b@host/x": "is not a valid host",
    "ssh:[::1]22/x": "is not a port",
    "ssh:host/-x": "does not begin with '-'",
    "ssh:host/x;start=-y": "does not begin with '-'",
    "ssh:host/a\x1bb": "no control characters",
    "tcp:": "expected host:port",
    "tcp:localhost": "expected host:port",
    "tcp:80": "expected host:port",
    ":80": "expected host:port",
    "tcp::80": "expected host:port",
    "tcp:::1:80": "stands in brackets",
    "fe80::1:80": "stands in brackets",
    "tcp:[]:80": "is not a valid host",
    "tcp:[[::1]]:80": "is not a valid host",
    "tcp:[[x]]:80": "is not a valid host",
    "tcp:a b:80": "is not a valid host",
    "tcp:a\tb:80": "is not a valid host",
    "user@host:80": "is not a valid host",
    "tcp:host/path:80": "is not a valid host",
    "tcp:localhost:": "is not a port",
    "tcp:localhost:http": "is not a port",
    "tcp:localhost:-1": "is not a port",
    "tcp:localhost:+1": "is not a port",
    "tcp:localhost:65536": "is not a port",
    "tcp:localhost: 1": "is not a port",
    "tcp:localhost:\u0661": "is not a port",
    "tcp:localhost:" + "9" * 5000: "is not a port",
    "fd:": "is not a descriptor",
    "tcp:h:80;": "what follows ';'",
    "tcp:h:80;shut": "what follows ';'",
    "tcp:h:80;open;token=/x": "what follows ';'",
    "tcp:h:80;token": "what follows ';'",
    "tcp:h:80;token=": "absolute path",
    "tcp:h:80;token=x": "absolute path",
    "tcp:h:80;token=/x/": "absolute path",
    "tcp:h:80;token=/a\0b": "absolute path",
    "fd:x": "is not a descriptor",
    "fd:-1": "is not a descriptor",
    "fd:2147483648": "is not a descriptor",
    "pipe:": "letters, digits",
    "pipe:a/b": "letters, digits",
    "pipe:a\\b": "letters, digits",
    "pipe:\u00e9": "letters, digits",
}


@pytest.mark.parametrize("text", VALID)
def test_a_text_that_names_an_endpoint_is_read_and_printed(text):
    """Requirement V1; the printed form is the one that records and messages hold."""
    endpoint, printed = VALID[text]
    assert Endpoint.parse(text) == endpoint
    assert str(endpoint) == printed
    assert Endpoint.parse(printed) == endpoint
    assert pickle.loads(pickle.dumps(endpoint)) == endpoint


@pytest.mark.parametrize("text", INVALID, ids=lambda text: ascii(text[:30]))
def test_a_text_that_names_none_is_refused_with_its_reason(text):
    with pytest.raises(EndpointInvalid) as refused:
        Endpoint.parse(text)
    assert INVALID[text] in refused.value.reason
    assert refused.value.text == text
    assert str(refused.value).isprintable()


def test_for_the_name_of_a_daemon_the_error_has_the_cure():
    with pytest.raises(EndpointInvalid) as refused:
        Client.connect("my-counter")
    assert refused.value.__notes__ == [
        "To connect to a daemon by its name: daemonry.ensure('my-counter', mode='require')"
    ]
    with pytest.raises(EndpointInvalid) as refused:
        Client.connect("x.sock")
    assert not hasattr(refused.value, "__notes__")


@pytest.mark.parametrize("path", ["/run/x.sock", "@name", "/with a blank/x"])
def test_a_path_is_an_endpoint(path):
    assert Endpoint.unix(path) == Endpoint(path, UNIX)


def test_what_is_neither_a_text_nor_a_path_is_told_by_its_type():
    with pytest.raises(TypeError, match=r"a text or a path, and not int: daemonry\.ensure\(\) connects"):
        Endpoint.parse(7)


@pytest.mark.parametrize("path", ["", "x.sock", "/run/", "/a\0b", "@", "/run/x.sock ", "@name\n", "/\ud800"])
def test_a_path_that_cannot_be_one_is_refused(path):
    """One that ends in a blank could be printed but not read again: blanks around a text do not count."""
    with pytest.raises(EndpointInvalid):
        Endpoint.unix(path)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/run/x.sock", "/run/x.sock"),
        ("unix:@name", None),
        ("tcp:localhost:80", None),
        ("fd:3", None),
        ("pipe:x", None),
    ],
)
def test_only_a_socket_file_has_a_path(text, path):
    assert Endpoint.parse(text).path == path


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("/run/x.sock", True),
        ("unix:@name", True),
        ("fd:3", True),
        ("pipe:x", True),
        ("localhost:80", True),
        ("127.0.0.1:80", True),
        ("127.1.2.3:80", True),
        ("[::1]:80", True),
        ("example.com:80", False),
        ("192.168.0.1:80", False),
        ("0.0.0.0:80", False),
        ("[::]:80", False),
        ("localhost.example.com:80", False),
        ("127.evil.example.com:80", False),
        ("127.0.0.1.example.com:80", False),
    ],
)
def test_local_means_for_certain(text, local):
    """Nothing is looked up, so a name that only looks like a loopback address is not one."""
    assert Endpoint.parse(text).local is local


endpoints = st.one_of(
    st.builds(lambda path: Endpoint.unix("/" + path), st.text(min_size=1)),
    st.builds(lambda name: Endpoint.unix("@" + name), st.text(min_size=1)),
    st.builds(
        lambda host, port: Endpoint.parse(f"tcp:{host}:{port}"), st.text(min_size=1), st.integers(0, 65535)
    ),
    st.builds(lambda number: Endpoint("", FD, number), st.integers(0, 2**31 - 1)),
    st.builds(
        lambda host, port, name: Endpoint.parse(f"ssh:{host}:{port}/{name}"),
        st.text("abc.-@:[]", min_size=1),
        st.integers(0, 65535),
        st.text(min_size=1),
    ),
    st.builds(lambda name: Endpoint(name, PIPE), st.text("abcXYZ019-_.", min_size=1)),
)


@given(st.data())
def test_every_endpoint_is_read_from_its_own_text(data):
    """The record holds the text; whoever reads it must reach the same place."""
    try:
        endpoint = data.draw(endpoints)
    except EndpointInvalid:
        assume(False)
    assert Endpoint.parse(str(endpoint)) == endpoint


@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_is_an_endpoint_or_refused(text):
    try:
        endpoint = Endpoint.parse(text)
    except EndpointInvalid:
        return
    assert endpoint.kind in {"unix", "tcp", "fd", "pipe", "ssh"}
    if endpoint.path is not None:
        assert os.fsencode(endpoint.path).startswith(b"/")
