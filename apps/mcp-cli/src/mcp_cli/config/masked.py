"""A setting that may hold a secret, as it is shown: all of it but the secret.

Owns which parts of a URL, a command's words and a table are secret.  `${VAR}` stays as it is written: it
shows no more than a name.  Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

MASK: Final = "***"
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]*")
_SECRET_NAME: Final = re.compile(
    r"key|token|secret|pass(?!_env)|auth(?!or)|credential|cookie|bearer|\bpw\b", re.IGNORECASE
)
# A path's part that is not a word: as long as a key, with letters and digits in it.
_KEY_LIKE: Final = re.compile(r"(?=[^/]*[0-9])(?=[^/]*[A-Za-z])[A-Za-z0-9_=-]{20,}")
_OPTION: Final = re.compile(r"(--?[A-Za-z][\w-]*)(=)?(.*)", re.DOTALL)


def text(value: str) -> str:
    """Return a text with the passwords and tokens of the URLs in it masked."""
    return _URL.sub(lambda found: _url(found.group()), value) if "://" in value else value


def secrets_in(value: str) -> Iterator[str]:
    """Yield the passwords and tokens of the URLs in a text."""
    for found in _URL.finditer(value) if "://" in value else ():
        _, userinfo, _, path, query, fragment = _parts(found.group())
        if userinfo:
            yield userinfo
            yield userinfo.partition(":")[2] or userinfo
        yield from _KEY_LIKE.findall(path)
        yield from (pair.partition("=")[2] for pair in re.split("[&;]", query))
        yield fragment


def _url(url: str) -> str:
    scheme, userinfo, host, path, query, fragment = _parts(url)
    if userinfo:
        name, colon, password = userinfo.partition(":")
        userinfo = f"{name}:{_masked(password)}" if colon else _masked(name)
    path = "/".join(MASK if _KEY_LIKE.fullmatch(part) else part for part in path.split("/"))
    pairs = (pair.partition("=") for pair in query.split("&"))
    query = "&".join(
        f"{name}{equals}{_masked(said)}" if equals else _masked(name) for name, equals, said in pairs
    )
    return "".join(
        (
            f"{scheme}://",
            f"{userinfo}@" if userinfo else "",
            host,
            path,
            f"?{query}" if query else "",
            f"#{_masked(fragment)}" if fragment else "",
        )
    )


def _parts(url: str) -> tuple[str, str, str, str, str, str]:
    """Return scheme, user and password, host, path, query and fragment of a text that is nearly a URL."""
    scheme, _, rest = url.partition("://")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    userinfo, at, _ = authority.rpartition("@")
    name, colon, port = authority.partition(":")
    if not at and colon and "@" in rest and not port.isdecimal() and "[" not in name:
        userinfo, at, _ = rest.rpartition("@")  # a password with a slash in it
    rest = rest[len(userinfo) + len(at) :]
    rest, _, fragment = rest.partition("#")
    rest, _, query = rest.partition("?")
    host, slash, path = rest.partition("/")
    return scheme, userinfo, host, slash + path, query, fragment


def _masked(value: str) -> str:
    return value if not value or "${" in value else MASK


def command(words: Sequence[str]) -> list[str]:
    """Return a command's words; the value of an option whose name tells of a secret is masked."""
    shown: list[str] = []
    secret_next = False
    for word in words:
        if secret_next and not word.startswith("-"):
            shown.append(_masked(word))
            secret_next = False
            continue
        found = _OPTION.fullmatch(word)
        secret_next = False
        if found is not None and _SECRET_NAME.search(found[1]):
            secret_next = not found[2]
            shown.append(found[1] + (f"={_masked(found[3])}" if found[2] else found[3]))
        else:
            shown.append(text(word))
    return shown


def reached(program: str, args: Sequence[str], url: str) -> str:
    """Return how a server is reached, in one line: its command, or its URL."""
    return text(url) if url else " ".join(command([program, *args]))


def table(values: Mapping[str, str], *, all_secret: bool = False) -> dict[str, str]:
    """Return variables, or headers, with the values masked whose name tells of a secret.

    Args:
        values: by name.
        all_secret: whether each value is one, as a header's may be.
    """
    return {
        name: _masked(value) if all_secret or _SECRET_NAME.search(name) else text(value)
        for name, value in values.items()
    }
