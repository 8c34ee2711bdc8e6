"""Manifests as bytes, and names as paths."""

from __future__ import annotations

import pytest

from vx import digests
from vx.cass import layout
from vx.interfaces import Blob, Manifest

KEY = "ab" * 32
MANIFEST = Manifest(
    [Blob("main.o", digests.of_bytes(b"x"), 1), Blob("tool", digests.of_bytes(b"y"), 1, executable=True)],
    {"reads": ["a.h", "b.h"], "exit_code": 0, "nested": {"é": None}},
)


def test_a_manifest_comes_back_as_it_was() -> None:
    assert layout.decode(KEY, layout.encode(KEY, MANIFEST)) == MANIFEST


def test_no_single_byte_can_change_unseen() -> None:
    data = layout.encode(KEY, MANIFEST)
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1
        with pytest.raises(layout.Unsound):
            layout.decode(KEY, bytes(changed))


def test_a_manifest_cut_anywhere_is_unsound() -> None:
    data = layout.encode(KEY, MANIFEST)
    for length in range(len(data)):
        with pytest.raises(layout.Unsound):
            layout.decode(KEY, data[:length])


def test_a_manifest_of_another_form_says_so() -> None:
    body = b'{"blobs": 3}'
    data = b"vx manifest 2 %s\n%s" % (digests.of_bytes(KEY.encode() + b"\n" + body).encode(), body)
    with pytest.raises(layout.Unsound, match="cannot be understood"):
        layout.decode(KEY, data)


@pytest.mark.parametrize(
    ("blob", "reason"),
    [
        (Blob("a", "0" * 63, 1), "has no digest"),
        (Blob("a", "A" * 64, 1), "has no digest"),
        (Blob("a", "../" + "0" * 61, 1), "has no digest"),
        (Blob("a", "0" * 64, -1), "has the size -1"),
    ],
)
def test_what_cannot_be_kept_is_told(blob: Blob, reason: str) -> None:
    assert reason in layout.why_not(Manifest([blob]))
    assert layout.why_not(MANIFEST) == ""


def test_digests_are_blake3s() -> None:
    """The first test vector of BLAKE3's own, for no input."""
    assert digests.of_bytes(b"") == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert digests.is_digest(digests.of_bytes(b""))


def test_one_under_another_key_is_seen() -> None:
    with pytest.raises(layout.Unsound, match="manifest of this key"):
        layout.decode("cd" * 32, layout.encode(KEY, MANIFEST))
