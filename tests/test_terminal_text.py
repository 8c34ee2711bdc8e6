"""What may reach a terminal: every character that commands it, turns it around or hides in it does not."""

import io
import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.terminal_text import (
    UNSAFE,
    for_stream,
    is_unsafe,
    json_for_stream,
    json_shown,
    printable,
    shown,
)

HOSTILE = [
    ("\x1b[31m", "\\x1b[31m"),
    ("\x07\x08\x7f", "\\x07\\x08\\x7f"),
    ("\x9b2J", "\\x9b2J"),
    ("\u202egnp.exe", "\\u202egnp.exe"),
    ("\u2066x\u2069", "\\u2066x\\u2069"),
    ("a\u200eb\u200fc\u061cd", "a\\u200eb\\u200fc\\u061cd"),
    ("pass\u200bword\ufeff", "pass\\u200bword\\ufeff"),
    ("a\u00adb\u2060c\u180ed", "a\\xadb\\u2060c\\u180ed"),
    ("A\U000e0041\U000e0042\U000e007f", "A\\U000e0041\\U000e0042\\U000e007f"),
    ("x\U000e0100", "x\\U000e0100"),
    ("\u3164\uffa0\u115f", "\\u3164\\uffa0\\u115f"),
    ("bytes \udcff\udc80", "bytes \\xff\\x80"),
    ("half \ud83d", "half \\ud83d"),
    ("pass\u200dword", "pass\\u200dword"),
    ("\u200cname", "\\u200cname"),
    ("é\u200d", "é\\u200d"),
    ("é\u200d\u200dé", "é\\u200d\\u200dé"),
    ("é\u200d\u202eé", "é\\u200d\\u202eé"),
    ("\ufe0f", "\\ufe0f"),
    ("❤\ufe0f\ufe0f\ufe0e", "❤\ufe0f\\ufe0f\\ufe0e"),
    (" \ufe0f", " \\ufe0f"),
]
LEGITIMATE = [
    "größer als 5 €",
    "漢字かな交じり文",
    "مرحبا بالعالم",
    "שלום עולם",
    "نمی\u200cخواهم",  # noqa: RUF001  # Persian needs the non-joiner
    "क्\u200dष",  # and Hindi the joiner
    "👨\u200d👩\u200d👧 ❤\ufe0f\u200d🔥 1\ufe0f⃣ ⚠\ufe0f",
    "e\u0301 n\u0303",  # combining marks
    "a\u00a0b",
]


@pytest.mark.parametrize(("text", "escaped"), HOSTILE)
def test_what_commands_turns_or_hides_is_shown_as_an_escape(text, escaped):
    assert printable(text) == escaped
    assert shown(text) == escaped
    assert shown(f"a\tb\n{text.lstrip()}\n") == f"a\tb\n{escaped.lstrip()}\n"


@pytest.mark.parametrize("text", LEGITIMATE)
def test_the_text_of_people_stays_as_it_is(text):
    assert (printable(text), shown(text)) == (text, text)
    assert json_shown(json.dumps(text, ensure_ascii=False)) == json.dumps(text, ensure_ascii=False)


def test_one_line_and_several():
    assert printable("a\nb\r\n  c\u2028d\x85e") == "a b c d e"
    assert printable("a\tb") == "a\\x09b"
    assert shown("a\r\nb\rc\td\n\u2028") == "a\nb\\x0dc\td\n\\u2028"
    assert printable("abcdef", 3) == "abc..."
    assert printable("abc", 3) == "abc"


def _visible(text):
    return not any(is_unsafe(ord(char)) for char in text)


@given(st.text(st.characters(codec=None)))
def test_nothing_unsafe_comes_through(text):
    assert _visible(printable(text))
    assert _visible(shown(text).replace("\n", "").replace("\t", ""))
    assert printable(printable(text)) == printable(text)


_JSON = st.recursive(
    st.text(st.characters(exclude_categories=["Cs"])) | st.integers() | st.none(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(_JSON, st.sampled_from([None, 2]))
def test_json_stays_the_same_value(value, indent):
    text = json_shown(json.dumps(value, ensure_ascii=False, indent=indent))
    assert json.loads(text) == value
    assert _visible(text.replace("\n", ""))


def test_json_with_returns_between_its_words_stays_the_same_value():
    assert json_shown('{"a":\r\n 1,\r"b": "\u202e\U000e0041"}') == (
        '{"a":\n 1,\n"b": "\\u202e\\udb40\\udc41"}'
    )


def test_the_table_has_all_that_unicode_calls_a_control_or_a_format():
    """But for the joiners, and format characters that are signs which people see."""
    seen = {"\u200c", "\u200d", *"\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2"}
    for point in range(sys.maxunicode + 1):
        char = chr(point)
        if unicodedata.category(char) not in {"Cc", "Cf", "Zl", "Zp", "Cs"} or char in seen:
            continue
        if unicodedata.name(char, "").startswith(("EGYPTIAN", "KAITHI")):
            continue
        assert is_unsafe(point), hex(point)


def test_the_table_is_in_order():
    points = [point for pair in UNSAFE for point in pair]
    assert points == sorted(points)


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_only_a_terminal_gets_escapes():
    evil = "\x1b]0;x\x07\u202e"
    assert for_stream(evil, io.StringIO()) == evil
    assert for_stream(evil, _Terminal()) == "\\x1b]0;x\\x07\\u202e"
    assert for_stream("plain\n", _Terminal()) == "plain\n"
    assert json_for_stream('"\u202e"', io.StringIO()) == '"\u202e"'
    assert json_for_stream('"\u202e"', _Terminal()) == '"\\u202e"'
    assert json_for_stream('"plain"', _Terminal()) == '"plain"'


def test_what_is_remembered_is_bounded():
    from daemonry import terminal_text

    printable("".join(map(chr, range(0x4E00, 0x4E00 + 2 * terminal_text._REMEMBERED))))
    assert len(terminal_text._one_line) <= terminal_text._REMEMBERED
