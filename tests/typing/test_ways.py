"""What type checkers and editors see: the type of each way to call, an error for a wrong one, all names."""

import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import daemonry
from daemonry import AsyncClient, Client, Context, Interface, Stream, Upgrade
from daemonry.transport.endpoint import Endpoint

WAYS = Path(__file__).parent / "ways.py"
NOT_INSTALLED = "needs {}, which is for development: pip install {}"


def lines_marked_wrong():
    text = WAYS.read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(text, 1) if "  # wrong: " in line}


def lines_with_errors(*command):
    done = subprocess.run(
        [sys.executable, "-m", *command, WAYS.name],
        cwd=WAYS.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.findall(r"ways\.py:(\d+):(?:\d+)?.*?error", done.stdout)
    assert found, done.stdout + done.stderr
    return {int(number) for number in found}


def needs(module, package=""):
    found = importlib.util.find_spec(module)
    return pytest.mark.skipif(found is None, reason=NOT_INSTALLED.format(module, package or module))


@pytest.mark.slow
@needs("mypy")
def test_mypy_sees_the_type_of_each_way_to_call_and_refuses_each_wrong_one(tmp_path):
    assert lines_with_errors("mypy", "--strict", "--cache-dir", tmp_path) == lines_marked_wrong()


@pytest.mark.slow
@needs("pyright", "'pyright[nodejs]'")
def test_pyright_sees_the_type_of_each_way_to_call_and_refuses_each_wrong_one():
    """The file asks for its strict mode."""
    assert lines_with_errors("pyright", "--pythonpath", sys.executable) == lines_marked_wrong()


@pytest.mark.slow
@needs("pyright", "'pyright[nodejs]'")
def test_every_public_name_has_a_type_that_no_checker_has_to_guess(tmp_path):
    """`--verifytypes` looks into the packages of the `python` that it finds on the path."""
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--verifytypes", "daemonry", "--ignoreexternal", "--outputjson"],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    types = json.loads(done.stdout)["typeCompleteness"]
    symbols = types["symbols"]
    guessed = [one["name"] for one in symbols if not one["isTypeKnown"] and one["isExported"]]
    assert guessed == []
    assert types["completenessScore"] == 1
    assert types["exportedSymbolCounts"]["withKnownType"] > 1000


class K(Interface, name="org.example.k"):
    """Things."""

    def add(self, steps: int = 1) -> int:
        """Add some."""
        return steps

    async def find(self, context: Context, name: str) -> str:
        """Find one."""
        return name

    async def watch(self, /, job: str) -> AsyncIterator[int]:
        """Watch one."""
        yield 1

    def talk(self) -> Upgrade[None]:
        raise NotImplementedError

    def forget(self) -> None: ...


class First(Interface, name="org.example.first"):
    def shared(self) -> None: ...


class Second(First, name="org.example.second"):
    def more(self) -> None: ...


class Kinder(K):
    """An implementation."""

    def add(self, steps: int = 1) -> int:
        return steps + 1


@pytest.fixture
def client():
    return Client(None, Endpoint.parse("unix:/nowhere/k.sock"))


@pytest.fixture
def async_client():
    return AsyncClient(None, "nowhere", Endpoint.parse("unix:/nowhere/k.sock"))


def test_a_proxy_has_the_signatures_that_callers_have(client, async_client):
    signature = inspect.signature
    proxy = client.proxy(K)
    assert str(signature(proxy.add)) == "(steps: int = 1) -> int"
    assert str(signature(proxy.find)) == "(name: str) -> str"
    assert signature(proxy.watch).return_annotation == Iterator[int]
    assert signature(proxy.talk).return_annotation == tuple[None, Stream]
    assert signature(proxy.forget).return_annotation is None
    assert signature(async_client.proxy(K).watch).return_annotation == AsyncIterator[int]


def test_a_proxy_has_the_names_and_docstrings_of_the_class(client, async_client):
    for proxy in (client.proxy(K), async_client.proxy(K)):
        assert proxy.add.__doc__ == "Add some."
        assert proxy.watch.__doc__ == "Watch one."
        assert proxy.add.__qualname__ == "K.add"
        assert proxy.add.__module__ == __name__
        public = [name for name in dir(proxy) if not name.startswith("_")]
        assert public == ["add", "find", "forget", "talk", "watch"]


def test_remote_is_the_proxys_method(client):
    assert client.remote(K.add).__func__ is client.proxy(K).add.__func__
    assert client.remote(Second.more).__qualname__ == "Second.more"
    assert client.remote(Kinder.add).__self__.interface_name == "org.example.k"


@pytest.mark.parametrize("wrong", ["add", print, len, Interface.__init__, K, None])
def test_remote_takes_only_methods_of_interfaces(client, wrong):
    with pytest.raises(TypeError, match=r"expected a method of an Interface class, such as Counter\.add"):
        client.remote(wrong)


def test_a_method_that_two_interfaces_share_is_not_guessed(client):
    """`Second.shared` is the very function `First.shared`: which of the two is meant, nobody can tell."""
    with pytest.raises(
        TypeError, match=r"First\.shared is a method of org\.example\.first and org\.example\.second"
    ):
        client.remote(Second.shared)


@pytest.mark.slow
@needs("jedi")
@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ("import daemonry\ndaemonry.", [name for name in daemonry.__all__ if name != "__version__"]),
        ("import daemonry\ndaemonry.ensure('x').", ["call", "proxy", "remote", "stream"]),
        ("import daemonry\nwith daemonry.Client.connect('x') as client:\n    client.", ["call", "remote"]),
        ("from daemonry import *\nclass K(Interface):\n  def kk(self): ...\nPool('x').proxy(K).", ["kk"]),
        ("from daemonry import Daemon\nDaemon('x').", ["serve", "work", "main"]),
        ("from daemonry import Daemon\nDaemon('x').place().", ["socket_path"]),
        ("import daemonry\ndaemonry.errors.", ["NotRunning"]),
    ],
)
def test_jedi_completes(code, wanted):
    """Jedi is what IPython, Jupyter and vim complete with; it does not take `TYPE_CHECKING` for true."""
    import jedi

    found = {completion.name for completion in jedi.Script(code).complete()}
    assert set(wanted) <= found
