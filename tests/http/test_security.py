"""Who may ask over TCP: decided without a socket."""

import pytest

from daemonry.http import security

HOSTS = security.allowed_hosts("127.0.0.1", 7654, ["box.lan"])


@pytest.mark.parametrize("host", ["127.0.0.1:7654", "LOCALHOST:7654", "[::1]:7654", "box.lan:7654"])
def test_a_host_that_is_the_daemon_s_address_is_taken(host):
    assert security.wrong_host([host], HOSTS) == ""


@pytest.mark.parametrize(
    "hosts",
    [[], ["127.0.0.1:7654", "127.0.0.1:7654"], ["evil.example:7654"], ["127.0.0.1"], ["127.0.0.1:80"], [""]],
)
def test_any_other_host_is_refused(hosts):
    """A name that was made to lead to 127.0.0.1 says which name it was."""
    assert security.wrong_host(hosts, HOSTS)


@pytest.mark.parametrize(
    "headers",
    [{}, {"origin": "http://127.0.0.1:7654"}, {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}],
)
def test_our_own_page_and_programs_may_ask(headers):
    assert security.wrong_origin(headers, HOSTS) == ""


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "https://127.0.0.1:7654"},
        {"origin": "http://127.0.0.1:7655"},
        {"origin": "null"},
        {"origin": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_page_of_another_origin_may_not(headers):
    """Another port of this host is another origin, and the same site."""
    assert security.wrong_origin(headers, HOSTS)


@pytest.mark.parametrize(
    ("method", "path", "public"),
    [
        ("GET", "/", True),
        ("GET", "/ui/main.js", True),
        ("POST", "/v1/session", True),
        ("POST", "/", False),
        ("GET", "/v1/status", False),
        ("GET", "/health", False),
        ("GET", "/metrics", False),
        ("GET", "/v1/session", False),
        ("GET", "//ui/x", False),
        ("GET", "/v1/parts/x", False),
    ],
)
def test_only_the_page_s_own_files_need_no_token(method, path, public):
    assert security.is_public(method, path) is public


def test_a_token_is_one_of_those_known():
    assert security.is_token("b", ["a", "b"])
    assert not security.is_token("", ["a"])
    assert not security.is_token("ab", ["a"])
    assert not security.is_token("a", [])
    assert security.presented({"authorization": "bearer x"}) == "x"
    assert security.presented({"authorization": "Basic x"}) is None
    assert security.presented({}) is None
