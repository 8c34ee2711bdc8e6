"""Asks cargo what a build consists of, and remembers the answer while nothing changes that it came from.

Owns running cargo, offline at first, and the fetch where something is not there yet.  cargo resolves
features, profiles and platforms, and reads vendored, local and downloaded sources; the answer is its unit
graph, an unstable interface of a stable cargo (decision 170).  Nothing is compiled, and no build script runs.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from vx.cargo.graph import Graph, GraphInvalid, decode, package_id
from vx.cargo.neighbours import Neighbours, neighbours
from vx.cargo.vendored import CHECKSUMS
from vx.project.action import Tool
from vx.project.errors import ProjectInvalid
from vx.project.toolchain import all_rested, state_of

MANIFEST: Final = "Cargo.toml"
LOCK: Final = "Cargo.lock"

# A resolution of a thousand crates takes a second; a registry may be slow.
_ASK_TIMEOUT_S: Final = 120.0
_FETCH_TIMEOUT_S: Final = 1800.0
_MOST_ANSWERS: Final = 32
# Lines of an error that are shown, and how long they may be together.
_MOST_LINES: Final = 8
_MOST_CHARS: Final = 1200
# Where cargo looks for targets, by their names: these files decide which targets there are.
_LOOKED_AT: Final = (".", "src", "src/bin", "examples", "tests", "benches")
# Of the environment, what cargo heeds.
_HEEDED: Final = (
    "CARGO",
    "RUST",
    "HTTP_",
    "HTTPS_",
    "http_",
    "https_",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_",
    "GIT_",
)
_HEEDED_NAMES: Final = ("HOME", "PATH", "USER", "CC", "SSH_AUTH_SOCK")


class Question(msgspec.Struct, frozen=True):
    """What cargo is asked.

    Attributes:
        directory: of the package or workspace; absolute.
        options: of `cargo build`: which crates, with which features, which profile.
        locked: whether Cargo.lock must stay as it is.
        offline: whether nothing may be fetched.
    """

    directory: str
    options: tuple[str, ...] = ()
    locked: bool = False
    offline: bool = False


class CargoAnswer(msgspec.Struct, frozen=True):
    """What cargo said.

    Attributes:
        graph: the units of the build.
        vendored: the digests of the checksums of directory sources' crates, by the crates' directories; ""
            where there are none.
    """

    graph: Graph
    vendored: dict[str, str]


class _Looked(msgspec.Struct, frozen=True):
    """What an answer came from.

    Attributes:
        own: directories of the project's packages, the project's own first.
        above: directories in which they are, where another member may come.
        packages: directories of all packages, of those that are only named, too.
        vendored: of the former, the directories in a directory source.
    """

    own: tuple[str, ...]
    above: tuple[str, ...]
    packages: tuple[str, ...]
    vendored: tuple[str, ...] = ()


class Cargo:
    """Answers of cargo.

    Args:
        digest: of a file's content; None where there is none.
    """

    def __init__(self, digest: Callable[[str], str | None]) -> None:
        self._digest = digest
        self._known: dict[tuple[object, ...], tuple[tuple[object, ...], _Looked, CargoAnswer]] = {}

    def graph(
        self, question: Question, cargo: Tool, env: Mapping[str, str], fetching: Callable[[], None]
    ) -> CargoAnswer:
        """Return the units of a build.

        Args:
            question: the build.
            cargo: the program.
            env: the caller's, with RUSTC.
            fetching: is called before anything is fetched.

        Raises:
            ProjectInvalid: cargo refuses the project; its reason is in one line.
        """
        heeded = tuple(
            sorted((name, value) for name, value in env.items()
                   if name.startswith(_HEEDED) or name in _HEEDED_NAMES)
        )  # fmt: skip
        key = (question, cargo, heeded)
        known = self._known.get(key)
        if known is not None and known[0] == self._state(known[1], env):
            return known[2]
        own = _Looked((question.directory,), (), ())
        home = cargo_home(env, question.directory)
        before, asked_ns = self._state(own, env), time.time_ns()
        graph = _Asking(question, cargo, env).graph(fetching)
        looked = _looked_at(question.directory, graph, home, neighbours(question.directory, home))
        answer = CargoAnswer(graph, self._checksums(looked))
        if len(self._known) >= _MOST_ANSWERS:
            self._known.clear()
        # A file that was edited meanwhile, or by cargo itself (Cargo.lock): the next build asks again.
        if self._state(own, env) == before and _have_rested(looked, asked_ns):
            self._known[key] = (self._state(looked, env), looked, answer)
        return answer

    def _state(self, looked: _Looked, env: Mapping[str, str]) -> tuple[object, ...]:
        found: list[object] = [self._digest_of(f"{one}/{MANIFEST}") for one in looked.packages]
        found += self._checksums(looked).values()
        for directory in looked.own:
            found += [_names(f"{directory}/{one}") for one in _LOOKED_AT]
        found += [_names(one) for one in looked.above]
        above = looked.own[0]
        while True:
            found += [
                self._digest_of(f"{above}/{name}")
                for name in (MANIFEST, LOCK, ".cargo/config.toml", ".cargo/config")
            ]
            parent = os.path.dirname(above)
            if parent == above:
                break
            above = parent
        home = cargo_home(env, looked.own[0])
        found += [self._digest_of(f"{home}/{name}") for name in ("config.toml", "config")]
        return tuple(found)

    def _checksums(self, looked: _Looked) -> dict[str, str]:
        return {one: self._digest_of(f"{one}/{CHECKSUMS}") or "" for one in looked.vendored}

    def _digest_of(self, path: str) -> str | None:
        try:
            return self._digest(path)
        except OSError:
            return "unreadable"


class _Asking:
    def __init__(self, question: Question, cargo: Tool, env: Mapping[str, str]) -> None:
        self._question = question
        self._cargo = cargo
        self._env = env

    def graph(self, fetching: Callable[[], None]) -> Graph:
        words = ["build", "--unit-graph", "-Z", "unstable-options", *self._question.options]
        done = self._run([*words, "--offline"], _ASK_TIMEOUT_S)
        if done.returncode != 0 and b"offline" in done.stderr and not self._is_offline():
            fetching()
            fetched = self._run(["fetch"], _FETCH_TIMEOUT_S)
            if fetched.returncode != 0:
                raise self._refused(fetched.stderr)
            done = self._run([*words, "--offline"], _ASK_TIMEOUT_S)
        if done.returncode != 0:
            raise self._refused(done.stderr)
        try:
            return decode(done.stdout)
        except GraphInvalid as error:
            raise ProjectInvalid(
                self._manifest(), f"{self._cargo.name} is not known to vx: {error}"
            ) from None

    def _run(self, words: list[str], timeout_s: float) -> subprocess.CompletedProcess[bytes]:
        directory = self._question.directory
        # A link in its place could lead cargo to write anywhere.
        locked = self._question.locked or os.path.islink(f"{directory}/{LOCK}")
        # The unit graph is for nightly cargo, or for one that believes to be.
        env = {**self._env, "RUSTC_BOOTSTRAP": "1", "LC_ALL": "C", "CARGO_TERM_COLOR": "never"}
        try:
            return subprocess.run(
                [self._cargo.path, *words, *(["--locked"] if locked else [])],
                env=env,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ProjectInvalid(
                self._manifest(), f"`cargo {words[0]}` took longer than {timeout_s:g} s"
            ) from None

    def _is_offline(self) -> bool:
        return self._question.offline or self._env.get("CARGO_NET_OFFLINE") == "true"

    def _refused(self, said: bytes) -> ProjectInvalid:
        return ProjectInvalid(self._manifest(), f"cargo says: {reason(said.decode('utf-8', 'replace'))}")

    def _manifest(self) -> str:
        return f"{self._question.directory}/{MANIFEST}"


def reason(said: str) -> str:
    """Return what cargo complained of in one line."""
    lines = [line.strip() for line in said.splitlines()]
    starts = [number for number, line in enumerate(lines) if line.startswith("error")]
    kept = [line for line in lines[starts[0] if starts else 0 :] if line and line != "Caused by:"]
    text = "; ".join(kept[:_MOST_LINES]) or "nothing"
    text = text.removeprefix("error: ")
    return text if len(text) <= _MOST_CHARS else text[:_MOST_CHARS] + " ..."


def cargo_home(env: Mapping[str, str], directory: str) -> str:
    """Return where cargo keeps its configuration and its crates, for a caller's environment.

    Args:
        env: the caller's.
        directory: that a path in it starts from.
    """
    return os.path.join(directory, env.get("CARGO_HOME") or f"{env.get('HOME', '')}/.cargo")


def _looked_at(directory: str, graph: Graph, home: str, near: Neighbours) -> _Looked:
    # Below these cargo has unpacked crates itself; what of a registry is elsewhere is in a directory source.
    unpacked = tuple(
        f"{one}/{inside}/"
        for one in dict.fromkeys((home, os.path.realpath(home)))
        for inside in ("registry/src", "git/checkouts")
    )
    vendored: dict[str, None] = {}
    own: dict[str, None] = {directory: None}
    packages = dict.fromkeys(near.packages)
    for pkg_id, path in {unit.pkg_id: unit.target.src_path for unit in graph.units}.items():
        found = package_dir(path)
        packages[found] = None
        if package_id(pkg_id).is_path:
            own[found] = None
        elif not found.startswith(unpacked):
            vendored[found] = None
    above = dict.fromkeys(os.path.dirname(one) for one in own if one.startswith(f"{directory}/"))
    above |= dict.fromkeys(near.above)
    return _Looked(tuple(own), tuple(above), tuple(packages), tuple(vendored))


def _have_rested(looked: _Looked, asked_ns: int) -> bool:
    """Whether no manifest, and no folder of targets, changed since cargo was asked, nor just before."""
    folders = [f"{directory}/{one}" for directory in looked.own for one in _LOOKED_AT]
    manifests = [f"{directory}/{MANIFEST}" for directory in looked.packages]
    return all_rested(map(state_of, (*manifests, *folders, *looked.above)), asked_ns)


def package_dir(path: str) -> str:
    """Return the directory of the package that a source belongs to."""
    above = os.path.dirname(path)
    while not os.path.isfile(f"{above}/{MANIFEST}"):
        parent = os.path.dirname(above)
        if parent == above:
            return os.path.dirname(path)
        above = parent
    return above


def _names(directory: str) -> tuple[str, ...]:
    """Return the names in a directory; of a folder also whether a main.rs makes it a program."""
    try:
        entries = [one for one in os.scandir(directory) if not one.name.startswith(".")]
    except OSError:
        return ()
    found = [one.name for one in entries]
    found += [f"{one.name}/main.rs" for one in entries if os.path.exists(f"{one.path}/main.rs")]
    return tuple(sorted(found))
