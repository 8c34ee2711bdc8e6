"""What one reply to a lookup holds."""

from vx.cass import reply_size
from vx.cass.reply_size import fitted
from vx.interfaces import Lookup, Manifest

KEYS = [f"{number:02x}" * 32 for number in range(8)]


def saying(size: int) -> Manifest:
    return Manifest([], {"said": "w" * size})


def test_what_fits_stays(monkeypatch) -> None:
    monkeypatch.setattr(reply_size, "MAX_REPLY_BYTES", 1000)
    lookup = Lookup({KEYS[0]: saying(100), KEYS[1]: saying(100)}, [], {"d": b"x" * 100})
    assert fitted(lookup, [KEYS[0]]) == lookup


def test_what_was_asked_for_goes_before_what_came_along_and_contents(monkeypatch) -> None:
    monkeypatch.setattr(reply_size, "MAX_REPLY_BYTES", 1000)
    along, asked = saying(500), saying(600)
    lookup = Lookup({KEYS[1]: along, KEYS[0]: asked}, [], {"d": b"x" * 400, "e": b"x" * 200})
    assert fitted(lookup, [KEYS[0]]) == Lookup({KEYS[0]: asked}, [], {"e": b"x" * 200})


def test_of_what_was_asked_for_the_rest_is_left_and_never_all(monkeypatch) -> None:
    monkeypatch.setattr(reply_size, "MAX_REPLY_BYTES", 1000)
    lookup = Lookup({key: saying(2000) for key in KEYS[:3]})
    assert fitted(lookup, KEYS) == Lookup({KEYS[0]: saying(2000)}, left=[KEYS[1], KEYS[2]])
