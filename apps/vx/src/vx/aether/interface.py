"""What aether can be asked: the typed interface, and the values that pass.

Owns the contract and nothing that fulfils it.  The command `vx` knows the names of methods and fields
by heart, so that it need not import this.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

import msgspec

from daemonry import CallError, Interface, method
from vx.interfaces import Collected, Verified


class BuildEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that happened in a build; the last one of a build is `finished`.

    Attributes:
        kind: `planned`, `started`, `ended`, `said`, `compared`, `note`, or `finished`.
        title: of the action that it is about; of a `finished` build, the project.
        total: of `planned` and `finished`: how many actions there are.
        done: how many of them are over.
        cached: of `finished`: how many were found, and not run.
        executed: of `finished`: how many ran.
        outcome: of `ended`: see `vx.reports.report`; of `compared`: `same` or `different`.
        text: of `said`: a compiler's diagnostics, with colours; of `compared`: the outputs that differ; of
            `note`: a line for the user; of
            `finished`: what went wrong, or "".
        success: of `finished`.
        duration_ms: of `ended` and `finished`.
        run: of `finished`: the id of its report; "" where none could be written.
        outputs: of `finished`: the files that were put.
        passed: of `finished`: how many tests passed.
        code: of `finished`: the exit code that this comes to.
    """

    kind: Literal["planned", "started", "ended", "said", "compared", "note", "finished"]
    title: str = ""
    total: int = 0
    done: int = 0
    cached: int = 0
    executed: int = 0
    outcome: str = ""
    text: str = ""
    success: bool = False
    duration_ms: int = 0
    run: str = ""
    outputs: list[str] = []
    passed: int = 0
    code: int = 0


class ServiceState(msgspec.Struct, frozen=True):
    """One of the services.

    Attributes:
        name: its name.
        state: `running`, `starting`, `ended`, or `elsewhere` for one that aether did not start.
        pid: its process; 0 where it is not known.
        endpoint: where it is reached.
        log: its log.
        restarts: how often it was started again.
        last_end: how it ended last, or "".
    """

    name: str
    state: str
    pid: int
    endpoint: str
    log: str
    restarts: int
    last_end: str


class State(msgspec.Struct, frozen=True):
    """aether in numbers.

    Attributes:
        version: of vx.
        home: the home.
        services: cass and rhea.
        building: the projects that are being built now.
        builds: how many were finished since it started.
        compilations: how many actions were run since it started.
        files_hashed: how many files were read for their digests.
    """

    version: str
    home: str
    services: list[ServiceState]
    building: list[str]
    builds: int
    compilations: int
    files_hashed: int


class OtherVersion(CallError):
    """The caller is another version of vx; nothing was done."""

    version: str


class ServiceDied(CallError):
    """cass or rhea ended, and the request could not be done without it."""

    service: str
    reason: str
    log: str


class Aether(Interface, name="org.daemonry.vx.Aether", errors=(OtherVersion, ServiceDied)):
    """Builds projects."""

    def build(  # noqa: PLR0913, PLR0917  # each is sent by its name
        self,
        directory: str,
        version: str,
        environment: dict[str, str],
        umask: int = 0o022,
        release: bool = False,
        packages: list[str] = [],  # noqa: B006  # copied by the interface
        workspace: bool = False,
        features: list[str] = [],  # noqa: B006
        default_features: bool = True,
        all_features: bool = False,
        profile: str = "",
        platform: str = "",
        targets: list[str] = [],  # noqa: B006
        locked: bool = False,
        offline: bool = False,
        why_not: bool = False,
        rebuild: int = 0,
        test: bool = False,
        tests: list[str] = [],  # noqa: B006
    ) -> AsyncIterator[BuildEvent]:
        """Build the project of a directory, or of the nearest one above it that is one.

        Args:
            directory: where `vx` was called; absolute.
            version: of the caller's vx; another than ours is `OtherVersion`.
            environment: the caller's, as far as it is UTF-8.
            umask: the caller's, for the outputs.
            release: the profile.
            packages: names of packages of a workspace; none for the usual.
            workspace: all packages of it.
            features: to turn on.
            default_features: whether default features are.
            all_features: whether all are.
            profile: another profile than dev or release; "" for those.
            platform: the target triple; "" for this machine.
            targets: which targets are built, in cargo's words (`--bin=NAME`); none for the usual.
            locked: whether Cargo.lock must stay as it is.
            offline: whether nothing may be fetched.
            why_not: only tell, in notes, all that would be refused.
            rebuild: how many results, chosen at random, to make again and compare.
            test: whether the project's tests are run, too.
            tests: the names of those that are; none for all.
        """
        raise NotImplementedError

    @method(reads=True)
    async def state(self) -> State:
        """Return aether in numbers."""
        raise NotImplementedError

    def verify(self) -> AsyncIterator[Verified]:
        """Read the whole store again; see `Cass.verify`."""
        raise NotImplementedError

    async def gc(self, max_bytes: int | None = None, dry_run: bool = False) -> Collected:
        """Remove the least recently used from the store; see `Cass.gc`."""
        raise NotImplementedError
