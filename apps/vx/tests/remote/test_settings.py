"""What a user may set of remotes, and what is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemonry import Refused
from vx.remote import settings
from vx.remote.settings import RemoteSettings, ServerAddress


def load(home: Path, text: str = "", **environ: str) -> RemoteSettings:
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(text)
    return settings.load({"VX_HOME": str(home), **environ})


def test_nothing_set_is_no_remote(tmp_path: Path) -> None:
    found = settings.load({"VX_HOME": str(tmp_path / "none")})
    assert (found.storage, found.executor, found.upload) == ("", "", True)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    text = (
        '[remote]\ncache = "grpcs://a:1"\ninstance = "main"\nheaders = { x-team = "blue" }\ntls-ca = "/ca"\n'
    )
    found = load(
        tmp_path / "vx",
        text,
        VX_REMOTE_CACHE="grpc://b",
        VX_REMOTE_UPLOAD="no",
        VX_REMOTE_PLATFORM="OSFamily=linux, ISA=x86-64",
        VX_REMOTE_TIMEOUT_S="2.5",
        VX_REMOTE_WHEN="hybrid",
        VX_REMOTE_EXECUTE=" grpc://c:2 ",
    )
    assert found.cache == "grpc://b"
    assert (found.instance, found.headers, found.tls_ca) == ("main", {"x-team": "blue"}, "/ca")
    assert (found.upload, found.timeout_s, found.when) == (False, 2.5, "hybrid")
    assert found.platform == {"OSFamily": "linux", "ISA": "x86-64"}
    assert found.executor == "grpc://c:2"
    assert load(tmp_path / "vx", text, VX_REMOTE_CACHE="").storage == ""


def test_an_executor_is_the_storage_where_no_cache_is_set(tmp_path: Path) -> None:
    assert load(tmp_path / "vx", '[remote]\nexecute = "grpc://c:2"\n').storage == "grpc://c:2"
    never = load(tmp_path / "vx", '[remote]\nexecute = "grpc://c:2"\nwhen = "never"\n')
    assert (never.storage, never.executor) == ("", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[remote]\ncashe = "grpc://a:1"\n', "config.toml:2:1.*cashe.*cache"),
        (
            '[remote]\ncache = "http://a:1"\n',
            "config.toml:2:1: remote.cache: 'http://a:1' is .*grpc://HOST:PORT",
        ),
        ('[remote]\ncache = "grpc://a:1/x"\n', "grpc://HOST:PORT"),
        ('[remote]\ncache = "grpc://a:99999"\n', "grpc://HOST:PORT"),
        ('[remote]\nwhen = "often"\n', "config.toml:2:.*when: .*'often': miss, hybrid or never"),
        ('[remote]\nheaders = { "X-Team" = "blue" }\n', "X-Team.*lower-case"),
        ('[remote]\nheaders = { x = "a\\nb" }\n', "cannot be sent"),
        ('[remote]\ntls-key = "me.key"\n', "config.toml:2:1: remote.tls-key: .*go together"),
        ("[remote]\ntimeout-s = 0\n", "timeout-s"),
        ("[remote\n", "config.toml:1"),
        ("[other]\n", "other"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        load(tmp_path / "vx", text)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("UPLOAD", "perhaps", "true or false"),
        ("TIMEOUT_S", "long", "a number of seconds"),
        ("WHEN", "often", "miss, hybrid or never"),
        ("PLATFORM", "linux", "NAME=VALUE"),
        ("CACHE", "cache.example", "grpc://HOST:PORT"),
        ("HEADERS", "X-Team=blue", "'X-Team' cannot be sent"),
        ("TLS_CERTIFICATE", "me.pem", "go together"),
        ("TIMEOUT_S", "0", "is not above 0"),
        ("EXECUTOR", "grpc://a:1", "did you mean 'VX_REMOTE_EXECUTE'"),
    ],
)
def test_a_wrong_variable_is_refused_by_name(tmp_path: Path, name: str, value: str, said: str) -> None:
    begins = "VX_REMOTE_" if name == "EXECUTOR" else f"^VX_REMOTE_{name}[:=]"
    with pytest.raises(Refused, match=f"{begins}.*{said}"):
        load(tmp_path / "vx", "", **{f"VX_REMOTE_{name}": value})


def test_addresses() -> None:
    assert settings.target_of("grpc://a") == ServerAddress("a:80", tls=False)
    assert settings.target_of("grpcs://a.b/") == ServerAddress("a.b:443", tls=True)
    assert settings.target_of("grpcs://[::1]:5") == ServerAddress("[::1]:5", tls=True)
    assert settings.target_of("grpc://[::1]") == ServerAddress("[::1]:80", tls=False)
    assert settings.target_of("unix:/run/x.sock") == ServerAddress("unix:/run/x.sock", tls=False)
