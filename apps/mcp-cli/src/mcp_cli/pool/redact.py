"""Secrets kept out of texts: those of a definition, in whatever a server writes on stderr."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mcp_cli.config import masked

MASK = "[secret]"
# Shorter values are too common as parts of ordinary words.
MIN_SECRET_CHARS = 6
_SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASS", "AUTH", "CREDENTIAL", "COOKIE", "BEARER")


def secrets_of(
    env: Mapping[str, str],
    headers: Mapping[str, str],
    others: tuple[str, ...] = (),
    texts: Iterable[str] = (),
) -> list[str]:
    """Return the values that are secret.

    Args:
        env: variables: the values of those with a telling name, and the secret parts of URLs in any.
        headers: each value is.
        others: values that are.
        texts: of a definition, which may have URLs in them.
    """
    values = [value for name, value in env.items() if any(word in name.upper() for word in _SECRET_WORDS)]
    for value in headers.values():
        values.append(value)
        values.extend(value.split())  # the token of `Bearer TOKEN`
    values.extend(others)
    for text in (*texts, *env.values()):
        values.extend(masked.secrets_in(text))
    # The longest first: one may be part of another.
    return sorted({one for one in values if len(one) >= MIN_SECRET_CHARS}, key=len, reverse=True)


def redacted(text: str, secrets: list[str]) -> str:
    """Return `text` with each secret masked."""
    for secret in secrets:
        if secret in text:
            text = text.replace(secret, MASK)
    return text
