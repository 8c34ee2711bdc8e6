"""Strict JSON: what every peer reads alike is read, everything else is refused, at a bounded cost.

The cases follow the JSON Parsing Test Suite (Seriot: y_ must be read, n_ must not, i_ is ours to
choose); fault 4 of the table.
"""

import enum
import json
import json.scanner
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry import strict_json
from daemonry.errors import BadFrame
from daemonry.limits import MAX_JSON_DEPTH
from daemonry.strict_json import decode, decode_object, encode, encode_names

READ = {
    "[]": [],
    "{}": {},
    " \t\r\n[ 1 , 2 ]\n": [1, 2],
    '{"a":{"b":[true,false,null]}}': {"a": {"b": [True, False, None]}},
    "0": 0,
    "-0": 0,
    "-0.0": -0.0,
    "123456789012345678901234567890": 123456789012345678901234567890,
    "1e5": 1e5,
    "1E+2": 100.0,
    "1.5e-3": 0.0015,
    "1e-10000": 0.0,
    '""': "",
    '"\\"\\\\\\/\\b\\f\\n\\r\\t"': '"\\/\b\f\n\r\t',
    '"\\u0000\\u001f\\u007f"': "\0\x1f\x7f",
    '"\\ud83d\\ude00"': "😀",
    '"\\uDBFF\\uDFFF"': "\U0010ffff",
    '"\x7f\u2028\ufeff"': "\x7f\u2028\ufeff",
    '{"":0}': {"": 0},
    '{"a":1,"A":1}': {"a": 1, "A": 1},
    '"' + "[{" * 100 + '"': "[{" * 100,
    '["\\"[[[[","' + "[" * 100 + '"]': ['"[[[[', "[" * 100],
    "[" + "[]," * 200 + "1]": [[]] * 200 + [1],
    "[" * MAX_JSON_DEPTH + "]" * MAX_JSON_DEPTH: None,
    "9" * 4300: None,
}
REFUSED = [
    *(
        "",
        " ",
        "\n",
        "\ufeff{}",
        "\ufeff",
        "\0",
        "[1]\0",
        "[\0]",
        "a",
        "'a'",
        "nul",
        "nulL",
        "True",
        "tru",
        "+1",
    ),
    *(
        "[1 true]",
        "[a\xe5]",
        '["": 1]',
        '[""],',
        "[,1]",
        "[1,,2]",
        '["x",,]',
        '["x"]]',
        '["",]',
        '["x"',
        "[x",
    ),
    *(
        "[3[4]]",
        "[1:2]",
        "[,]",
        "[-]",
        "[   , '']",
        "[1,]",
        "[1,,]",
        "[*]",
        '[""',
        "[1,\n1\n,1",
        "[{}",
        "[1",
        "]",
    ),
    *(
        "[++1234]",
        "[+1]",
        "[+Inf]",
        "[-01]",
        "[-1.0.]",
        "[-2.]",
        "[-NaN]",
        "[.-1]",
        "[.2e-3]",
        "[0.1.2]",
        "[0.3e+]",
    ),
    *(
        "[0.3e]",
        "[0.e1]",
        "[0E+]",
        "[0E]",
        "[1.0e+]",
        "[1.0e-]",
        "[1.0e]",
        "[1 000.0]",
        "[1eE2]",
        "[2.e+3]",
        "[2.e3]",
    ),
    *(
        "[9.e+]",
        "[Inf]",
        "[0x1]",
        "[0x42]",
        "[Infinity]",
        "[-Infinity]",
        "[NaN]",
        "[nan]",
        "[0e+-1]",
        "[-123.123foo]",
    ),
    *(
        "[-foo]",
        "[- 1]",
        "[-012]",
        "[-.123]",
        "[-1x]",
        "[1ea]",
        "[1.2a-3]",
        "[1.]",
        "[012]",
        "[\uff11]",
        "[1_000]",
    ),
    *("[\u0661]", '["x", truth]', '{[: "x"}', '{"x", null}', '{"x"::"b"}', '{"a":"a" 123}', "{key: 'value'}"),
    *(
        '{"a" b}',
        '{:"b"}',
        '{"a" "b"}',
        '{"a":',
        '{"a"',
        "{1:1}",
        "{9999E9999:1}",
        "{null:null}",
        '{"id":0,,,}',
    ),
    *("{'a':0}", '{"id":0,}', '{"a":"b"}/**/', '{"a":"b"}//', '{"a":"b"}/', '{"a":"b",,"c":"d"}', '{a: "b"}'),
    *('{"a":"a', '{"foo":"bar", "a"}', '{"a":"b"}#', "{", "}", '{"a":1}{"b":2}', "1 2", "[] []"),
    *('["\\uD800\\"]', '["\\u00A"]', '["\\', '["\\x00"]', '["\\\\\\"]', '["\\\t"]', '["\\a"]', '["\\uqqqq"]'),
    *(
        '["\\',
        '["\\u',
        '["\\uD834\\uDd"]',
        '["\\u{61}"]',
        '["new\nline"]',
        '["\t"]',
        '["\x1f"]',
        '"',
        "['x']",
        "\\n",
    ),
    *(
        "<.>",
        "[<null>]",
        "\u2060",
        "\u00a0[]",
        "\x0c[]",
        '"\\UA66D"',
        "abc",
        "/**/1",
        "{} //x",
        "[True]",
        "\xe5",
    ),
]
OURS_TO_REFUSE = {
    "1e400": "too large",
    "[-1e400]": "too large",
    "9" * 4301: "^malformed frame: not JSON: a number too large$",
    '{"a":1,"a":1}': "same key twice",
    '{"x":{"a":1,"b":2,"\\u0061":3}}': "same key twice",
    '"\\ud800"': "surrogate",
    '"\\udc00\\ud800"': "surrogate",
    '"\\ud800\\ud800\\udc00"': "surrogate",
    '{"\\udfff":1}': "surrogate",
    '"\ud800"': "surrogate",
    "[" * (MAX_JSON_DEPTH + 1) + "]" * (MAX_JSON_DEPTH + 1): "deeper",
    '{"a":' * (MAX_JSON_DEPTH + 1) + "1" + "}" * (MAX_JSON_DEPTH + 1): "deeper",
    "[" * 100_000: "deeper",
    '[{"":' * 50_000: "deeper",
    '["' + "\\\\" * 9 + '",' + "[" * 100_000: "deeper",
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


class Counted(str):
    """A text that counts how many of its characters somebody looked at, one by one."""

    __slots__ = ("seen",)

    def __new__(cls, text):
        counted = super().__new__(cls, text)
        counted.seen = 0
        return counted

    def __iter__(self):
        for char in super().__iter__():
            self.seen += 1
            yield char

    def __getitem__(self, at):
        self.seen += 1
        return super().__getitem__(at)


@pytest.fixture(params=["the interpreter's own scanner", "the json module"])
def scanner(request, monkeypatch):
    """Both ways to read; the second is for interpreters that have no `_json`."""
    if request.param == "the json module":
        monkeypatch.setitem(sys.modules, "_json", None)
        monkeypatch.setattr(json.scanner, "make_scanner", json.scanner.py_make_scanner)
        monkeypatch.setattr(json.decoder.scanner, "make_scanner", json.scanner.py_make_scanner)
        monkeypatch.setattr(strict_json, "_scan_once", strict_json._make_scanner())


@pytest.mark.usefixtures("scanner")
@pytest.mark.parametrize("text", READ, ids=lambda text: ascii(text[:24]))
def test_what_is_json_is_read(text):
    assert decode(text) == (READ[text] if READ[text] is not None else json.loads(text))


@pytest.mark.usefixtures("scanner")
@pytest.mark.parametrize("text", REFUSED, ids=lambda text: ascii(text[:24]))
def test_what_is_no_json_is_refused(text):
    with pytest.raises(BadFrame):
        decode(text)


@pytest.mark.usefixtures("scanner")
@pytest.mark.parametrize("text", OURS_TO_REFUSE, ids=lambda text: ascii(text[:24]))
def test_what_peers_read_differently_is_refused(text):
    """Facts F22: Python's own parser takes most of these, raises RecursionError, or cannot print them."""
    with pytest.raises(BadFrame, match=OURS_TO_REFUSE[text]):
        decode(text)


@pytest.mark.parametrize("text", [*REFUSED, *OURS_TO_REFUSE], ids=lambda text: ascii(text[:24]))
def test_a_refusal_is_one_short_line(text):
    """It travels to the peer and into logs: it must not carry what the peer sent."""
    with pytest.raises(BadFrame) as refused:
        decode(text)
    told = str(refused.value)
    assert told.isprintable()
    assert len(told) < 200


def test_an_object_is_asked_for_and_nothing_else_is_taken():
    assert decode_object('{"a":1}') == {"a": 1}
    for text in ("[]", "1", "null", '"{}"'):
        with pytest.raises(BadFrame, match="not a JSON object"):
            decode_object(text)


@pytest.mark.parametrize("unit", ["[", '{"a":', "[]", '"[",', '"\\"[",'])
def test_a_text_is_looked_at_once_however_deep_it_looks(unit):
    """A bound that takes quadratic time to apply is no bound."""
    text = Counted("[" + unit * 20_000)
    with pytest.raises(BadFrame):
        decode(text)
    assert text.seen <= len(text) + 10


def test_blanks_are_looked_at_once():
    text = Counted(" " * 20_000 + "1" + " " * 20_000)
    assert decode(text) == 1
    assert text.seen <= len(text) + 10


def test_a_depth_bomb_is_refused_at_its_first_level_too_many():
    text = Counted("[" * 100_000)
    with pytest.raises(BadFrame, match="deeper"):
        decode(text)
    assert text.seen <= MAX_JSON_DEPTH + 1


@given(json_values)
def test_what_was_encoded_is_read_again(value):
    assert decode(encode(value)) == value


@given(json_values)
def test_what_is_encoded_is_one_line_and_safe_on_a_terminal(value):
    text = encode(value)
    assert len(text.splitlines()) == 1
    assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in text)


def test_encoding_leaves_out_blanks_and_keeps_letters():
    assert encode({"a": [1, "ü", None]}) == '{"a":[1,"ü",null]}'


@pytest.mark.parametrize("char", ["\x00", "\n", "\x1b", "\x7f", "\x85", "\x9b", "\u2028", "\u2029"])
def test_encoding_escapes_what_a_terminal_or_a_line_reader_acts_upon(char):
    text = encode({"k" + char: char})
    assert char not in text
    assert decode(text) == {"k" + char: char}


def test_a_name_that_is_not_utf8_is_shown_and_can_be_sent():
    """A file name with the byte FF reaches Python as a lone surrogate; STATUS may have one in it."""
    text = encode({"file": "caf\udce9 ü"})
    assert text.encode("utf-8") == '{"file":"caf\\\\udce9 ü"}'.encode()
    assert decode(text) == {"file": "caf\\udce9 ü"}


def test_names_that_are_not_utf8_come_back_from_files_of_our_own():
    fields = {"file": "caf\udce9 ü \u202e", "caf\udce9": ["\\udce9"]}
    text = encode_names(fields)
    assert text.encode("utf-8")
    assert decode_object(text, with_names=True) == fields
    with pytest.raises(BadFrame, match="surrogate"):
        decode_object(text)
    with pytest.raises(BadFrame, match="twice"):
        decode_object('{"a":1,"a":2}', with_names=True)


class Name(str):
    __slots__ = ()


class Level(enum.IntEnum):
    HIGH = 3


KEYS = (
    st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none()
)
LEAVES = KEYS | st.floats() | st.just(Level.HIGH) | st.text().map(Name) | st.binary() | st.sets(st.integers())
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner),
    max_leaves=12,
)


def written(dumps, value):
    """The text, or the error that there is instead."""
    try:
        return dumps(value)
    except (TypeError, ValueError) as error:
        return type(error), str(error)


def json_dumps(value):
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@given(VALUES)
def test_what_is_written_is_what_json_writes(value):
    """Without the import of `json`: its encoder is driven directly."""
    assert written(strict_json._dumps, value) == written(json_dumps, value)


def test_what_holds_itself_is_refused_as_json_does():
    value = {"a": []}
    value["a"].append(value)
    assert written(strict_json._dumps, value) == written(json_dumps, value)
    assert written(strict_json._dumps, value)[0] is ValueError
    shared = [1]
    assert strict_json._dumps([shared, shared]) == "[[1],[1]]"


@pytest.mark.parametrize("missing", ["no _json", "an encoder that wants other arguments"])
def test_without_the_encoder_json_itself_writes(monkeypatch, missing):
    if missing == "no _json":
        monkeypatch.setitem(sys.modules, "_json", None)
    else:
        monkeypatch.setattr("_json.make_encoder", lambda: None)
    dumps = strict_json._make_dumps()
    assert "make_encoder" not in dumps.__code__.co_freevars
    assert dumps({"a": [1.5, "ü", None]}) == '{"a":[1.5,"ü",null]}'
    assert written(dumps, float("nan")) == written(json_dumps, float("nan"))


def test_writing_and_reading_do_not_import_json(sandbox):
    done = sandbox.run(
        sys.executable,
        "-c",
        "import sys; from daemonry.strict_json import decode, encode\n"
        "print(encode(decode('{\"a\":[1.5,\"\\\\u00fc\"]}')), 'json' in sys.modules, 're' in sys.modules)",
    )
    assert done.out == '{"a":[1.5,"ü"]} False False\n', done.err


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_what_json_has_no_number_for_is_not_written(number):
    with pytest.raises(ValueError, match="JSON compliant"):
        encode([number])


def test_what_json_has_no_form_for_is_not_written():
    with pytest.raises(TypeError):
        encode({"a": object()})


@given(st.text())
def test_any_text_is_read_or_refused(text):
    """No other exception, whatever comes: it would end a connection's handler."""
    try:
        value = decode(text)
    except BadFrame:
        return
    assert decode(encode(value)) == value
