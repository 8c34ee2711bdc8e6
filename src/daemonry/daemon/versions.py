"""Which version of a running daemon is taken, and which is replaced: a policy as data.

    any             take what runs
    exact           the same version, else replace
    newer wins      an older one is replaced, a newer one is taken
    range           one in a range, else: older than it replaced, newer than it refused
    side by side    each version is a daemon of its own

Owns the decision and the comparison of versions, and nothing that acts.  A process that has been
connected once never replaces: it reconnects, and two programs of different versions that replaced
each other's daemon at each loss of a connection would do so for ever.
"""

from __future__ import annotations

from daemonry.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

CONNECT: Final = "connect"
REPLACE: Final = "replace"
REFUSE: Final = "refuse"

_ANY: Final = "any"
_EXACT: Final = "exact"
_NEWER: Final = "newer wins"
_RANGE: Final = "range"
_BESIDE: Final = "side by side"


class Versions(Value):
    """A policy for the versions of a daemon.  Made by its class methods.

    Attributes:
        kind: which policy: "any", "exact", "newer wins", "range" or "side by side".
        least: of a range, the lowest version that is taken; "" for no bound.
        below: of a range, the lowest version that is no longer taken; "" for no bound.
    """

    __slots__ = ("below", "kind", "least")
    below: str
    kind: str
    least: str

    def __init__(self, below: str, kind: str, least: str) -> None:
        self._set(below=below, kind=kind, least=least)

    @classmethod
    def any(cls) -> Versions:
        """Take whatever runs."""
        return cls("", _ANY, "")

    @classmethod
    def exact(cls) -> Versions:
        """Take the same version; replace any other.  Two versions in use at once replace each other."""
        return cls("", _EXACT, "")

    @classmethod
    def newer_wins(cls) -> Versions:
        """Replace an older daemon, take a newer one: however many programs start it, it only rises."""
        return cls("", _NEWER, "")

    @classmethod
    def compatible(cls, least: str = "", below: str = "") -> Versions:
        """Take `least` <= version < `below`; replace an older one, refuse a newer one."""
        return cls(below, _RANGE, least)

    @classmethod
    def side_by_side(cls) -> Versions:
        """Let each version be a daemon of its own, `NAME-VERSION`, with its own lock, socket and log."""
        return cls("", _BESIDE, "")


class Verdict(Value):
    """The action for a daemon that runs.

    Attributes:
        action: CONNECT, REPLACE or REFUSE.
        reason: why, for people; "" for CONNECT.
    """

    __slots__ = ("action", "reason")
    action: str
    reason: str

    def __init__(self, action: str, reason: str) -> None:
        self._set(action=action, reason=reason)


_TAKEN: Final = Verdict(CONNECT, "")


def judge(policy: Versions, running: str, wanted: str, *, reconnecting: bool = False) -> Verdict:
    """Return the action for a daemon of the version `running`.

    Args:
        policy: the policy.
        running: the version of the daemon that runs.
        wanted: the version that the caller would start.
        reconnecting: whether this process has been connected to the daemon before.
    """
    verdict = _judge(policy, running, wanted)
    if verdict.action == REPLACE and reconnecting:
        return (
            _TAKEN
            if policy.kind == _NEWER
            else Verdict(REFUSE, f"{verdict.reason}; a reconnect replaces none")
        )
    return verdict


def _judge(policy: Versions, running: str, wanted: str) -> Verdict:
    if policy.kind in (_ANY, _BESIDE) or (running == wanted and policy.kind != _RANGE):
        return _TAKEN
    if policy.kind == _EXACT:
        return Verdict(REPLACE, f"{running} runs, and {wanted} is wanted")
    if policy.kind == _NEWER:
        if is_older(running, wanted):
            return Verdict(REPLACE, f"{running} runs, and {wanted} is newer")
        return _TAKEN
    if policy.least and is_older(running, policy.least):
        if is_older(wanted, policy.least):
            return Verdict(REFUSE, f"{running} runs, and {policy.least} or newer is needed")
        return Verdict(REPLACE, f"{running} runs, and {policy.least} or newer is needed")
    if policy.below and not is_older(running, policy.below):
        return Verdict(REFUSE, f"{running} runs, and one below {policy.below} is needed")
    return _TAKEN


def is_older(one: str, other: str) -> bool:
    """Whether the version `one` is older than `other`.

    Numbers are compared as numbers; `1.2` is `1.2.0`; a word after the numbers makes a version older
    than the one without it (`2.0rc1`, `2.0.dev3`), but for `post` and what follows a `+`.  Versions
    without a number at all are never older: what cannot be compared is not replaced.
    """
    mine, others = _key(one), _key(other)
    return mine is not None and others is not None and mine < others


# In their order: a development version, before alpha, beta and candidate, before the release itself.
_WORDS: Final = {
    "dev": -5,
    "a": -4,
    "alpha": -4,
    "b": -3,
    "beta": -3,
    "c": -2,
    "rc": -2,
    "pre": -2,
    "preview": -2,
}
_UNKNOWN_WORD: Final = -6
_POST: Final = 1


def _key(version: str) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]] | None:
    parts = _parts(version.partition("+")[0].lower().removeprefix("v"))
    release: list[int] = []
    while parts and parts[0].isdigit():
        release.append(int(parts.pop(0)))
    if not release:
        return None
    while release and release[-1] == 0:
        release.pop()
    words: list[tuple[int, int]] = []
    while parts:
        word = parts.pop(0)
        rank = _POST if word in ("post", "rev", "r") else _WORDS.get(word, _UNKNOWN_WORD)
        words.append((rank, int(parts.pop(0)) if parts and parts[0].isdigit() else 0))
    words.append((0, 0))  # the release itself: after the words that come before it, before `post`
    return tuple(release), tuple(words)


def _parts(version: str) -> list[str]:
    """Return the runs of digits and of letters; all else separates them."""
    parts: list[str] = []
    kind = ""
    for char in version:
        this = "0" if char in "0123456789" else "a" if char.isalpha() else ""
        if this and this == kind:
            parts[-1] += char
        elif this:
            parts.append(char)
        kind = this
    return [part[:18] for part in parts]
