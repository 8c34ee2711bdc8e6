"""The text dialect without a socket: words in any shape, replies on one line, nothing echoed raw."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.errors import BadFrame
from daemonry.limits import MAX_COMMAND_BYTES, MAX_ECHO_CHARS
from daemonry.terminal_text import printable
from daemonry.wire import text
from daemonry.wire.text import CommandReader, TextCommand, TextReply, read_reply

UNKNOWN = "ERR: Unknown command: "
TOO_LONG = f"ERR: Command too long: the limit is {MAX_COMMAND_BYTES} bytes\n"
CONTROLS = "ERR: Command has control characters in it\n"
NOT_UTF8 = "ERR: Command is not UTF-8\n"
# What a terminal acts upon, or shows elsewhere than it stands (CVE-2021-42574).
HARMFUL = {
    *map(chr, range(0x20)),
    *map(chr, range(0x7F, 0xA0)),
    *"\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
}


def harmless(line):
    return not set(line.removesuffix("\n")) & HARMFUL and line.count("\n") <= 1


def events(*pieces):
    """Feed the pieces and return what each of them made known."""
    reader = CommandReader()
    seen = []
    for piece in pieces:
        reader.receive_data(piece)
        seen.append(reader.next_event())
    return seen


def event_of(data):
    """What a connection means whose bytes come at once, followed by the end."""
    reader = CommandReader()
    reader.receive_data(data)
    found = reader.next_event()
    if found is None:
        reader.receive_data(b"")
        found = reader.next_event()
    return found


def answer_to(data):
    event = event_of(data)
    assert isinstance(event, TextReply)
    return event.to_text()


# --- commands -----------------------------------------------------------------------------------


@pytest.mark.parametrize("word", text.COMMANDS)
@pytest.mark.parametrize("shape", ["{}", "{}\n", "{}\r\n", "  {}\t\n", "\n {} \n\n"])
@pytest.mark.parametrize("case", [str.upper, str.lower, str.title, str.swapcase])
def test_a_command_is_known_in_any_case_and_between_blanks(word, shape, case):
    """Requirement P8."""
    assert TextCommand.parse(shape.format(case(word))) == TextCommand(word)


@pytest.mark.parametrize(
    "line", ["", " ", "UNKNOWN", "STATUSES", "STAT US", "STATUS PAUSE", "STATUS\0", "OK"]
)
def test_anything_else_is_no_command(line):
    assert TextCommand.parse(line) is None


@pytest.mark.parametrize("word", text.COMMANDS)
def test_a_command_is_sent_as_its_word_and_a_newline(word):
    command = TextCommand(word)
    assert command.to_text() == word + "\n"
    assert TextCommand.parse(command.to_text()) == command
    assert pickle.loads(pickle.dumps(command)) == command


def test_only_what_changes_nothing_may_be_sent_twice():
    twice = {word for word, spec in text.COMMANDS.items() if spec.idempotent}
    assert twice == {"STATUS", "PING", "VERSION", "STACKS", "HELP"}


def test_a_server_answers_by_itself_with_a_fixed_text_or_all_words():
    assert text.own_answer(text.COMMANDS["HELP"]) == " ".join(text.COMMANDS)
    assert {text.own_answer(spec) for spec in text.COMMANDS.values() if spec.says} == {"PONG"}


def test_a_row_tells_one_word_and_one_verb():
    for word, spec in text.COMMANDS.items():
        assert (spec.word, word) == (word, word.upper())
        assert spec.form in {"ok", "status", "text"}
        assert spec.method or spec.form == "text"  # what the server says itself
        assert pickle.loads(pickle.dumps(spec)) == spec
    verbs = [spec.verb for spec in text.COMMANDS.values() if spec.verb]
    assert len(set(verbs)) == len(verbs)
    methods = [spec.method for spec in text.COMMANDS.values() if spec.method]
    assert len(set(methods)) == len(methods)


# --- the one line of a connection ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"STATUS\n", TextCommand("STATUS")),
        (b"status\r\n", TextCommand("STATUS")),
        (b"STATUS", TextCommand("STATUS")),  # the original: end of file ends the line too
        (b" pause \nRESUME\n", TextCommand("PAUSE")),
        (b"STATUS\n" + bytes(100_000), TextCommand("STATUS")),
        (b"STATUS\n\xff\xfe", TextCommand("STATUS")),
        (b"", CommandReader.CLOSED),
    ],
)
def test_a_line_is_a_command(data, expected):
    assert event_of(data) == expected


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (b"\n", UNKNOWN + "\n"),
        (b"   ", UNKNOWN + "\n"),
        (b"FLY\n", UNKNOWN + "FLY\n"),
        (b"  fly me \r\n", UNKNOWN + "fly me\n"),
        ("fliege über\n".encode(), UNKNOWN + "fliege über\n"),
        (b"x" * (MAX_ECHO_CHARS + 1) + b"\n", UNKNOWN + "x" * MAX_ECHO_CHARS + "...\n"),
        (b"x" * MAX_ECHO_CHARS + b"\n", UNKNOWN + "x" * MAX_ECHO_CHARS + "\n"),
        (b"\xff\n", NOT_UTF8),
        (b"STATUS\xc3\n", NOT_UTF8),
        (b"\xed\xa0\x80\n", NOT_UTF8),
        (b"\xff\xfeS\0T\0\n", NOT_UTF8),
        (b"STA\0TUS\n", CONTROLS),
        (b"STATUS\0\n", CONTROLS),
        (b"\x1b[2Jboo\n", CONTROLS),
        (b"a\x7fb\n", CONTROLS),
        (b"a\x08b\n", CONTROLS),
        (b"a\rSTATUS\n", CONTROLS),
        ("a\u0085b\n".encode(), CONTROLS),
        ("a\u009b31mb\n".encode(), CONTROLS),
        ("a\u2028b\n".encode(), CONTROLS),
        ("a\u202eb\n".encode(), CONTROLS),
        ("a\u2066b\n".encode(), CONTROLS),
    ],
)
def test_a_line_that_is_no_command_is_refused_and_told_why(data, reply):
    assert answer_to(data) == reply


@pytest.mark.parametrize(
    ("length", "end", "refused"),
    [
        (MAX_COMMAND_BYTES, b"\n", UNKNOWN),
        (MAX_COMMAND_BYTES, b"", UNKNOWN),
        (MAX_COMMAND_BYTES + 1, b"\n", TOO_LONG),
        (MAX_COMMAND_BYTES + 1, b"", TOO_LONG),
        (10 * MAX_COMMAND_BYTES, b"\n", TOO_LONG),
    ],
)
def test_the_length_of_a_line_is_bounded(length, end, refused):
    """Fault 3; the original read without end."""
    assert answer_to(b"x" * length + end).startswith(refused)


def test_a_line_that_is_too_long_is_refused_before_its_end_comes():
    assert events(b"x" * MAX_COMMAND_BYTES, b"x") == [None, TextReply.error(TOO_LONG[5:-1])]


def test_a_flood_is_not_kept():
    """What is held is bounded by the limit and one piece, however long a peer goes on."""
    reader = CommandReader()
    for _ in range(1000):
        reader.receive_data(b"x" * 1000)
    assert len(reader._buffer) <= MAX_COMMAND_BYTES + 1000
    assert reader.next_event() == TextReply.error(TOO_LONG[5:-1])


@pytest.mark.parametrize(
    "data", [b"STATUS\n", b" reload \r\n", b"FLY\n", "über\n".encode(), b"\xff\xfe\n", b"\0\n"]
)
def test_the_pieces_in_which_bytes_come_make_no_difference(data):
    whole = event_of(data)
    pieces = [data[at : at + 1] for at in range(len(data))]
    assert events(*pieces) == [None] * (len(data) - 1) + [whole]
    for cut in range(1, len(data)):
        assert events(data[:cut], data[cut:]) == [None, whole]


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_word_that_is_cut_short_is_not_executed(cut):
    """Fault 2: the client died in the middle of a word."""
    assert answer_to(b"STATUS"[:cut]) == UNKNOWN + "STATUS"[:cut] + "\n"


def test_the_end_before_any_byte_is_no_command():
    """Requirement P9: such a connection is closed in silence."""
    assert events(b"") == [CommandReader.CLOSED]


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_bytes_are_a_command_a_refusal_or_nothing(pieces):
    """And what comes of them does not depend on the pieces, and is never printed raw."""
    data = b"".join(pieces)
    found = event_of(data)
    assert isinstance(found, (TextCommand, TextReply)) or found == CommandReader.CLOSED
    assert ([event for event in events(*filter(None, pieces), b"") if event] or [None])[0] == found
    if isinstance(found, TextReply):
        assert harmless(found.to_text())


@given(st.text(alphabet=st.one_of(st.sampled_from(sorted(HARMFUL)), st.characters())))
def test_an_unknown_command_is_never_echoed_raw(line):
    found = event_of(line.encode("utf-8", "surrogatepass") + b"\n")
    if isinstance(found, TextReply):
        assert harmless(found.to_text())


# --- replies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "line"),
    [
        (TextReply.ok(), "OK\n"),
        (TextReply.ok("needs a restart: port"), "OK: needs a restart: port\n"),
        (TextReply.error("test"), "ERR: test\n"),
        (TextReply.error(""), "ERR: \n"),
        (TextReply.text("PONG"), "PONG\n"),
        (TextReply.status({"state": "paused", "n": None}), '{"state":"paused","n":null}\n'),
        (TextReply.status({}), "{}\n"),
    ],
)
def test_a_reply_is_one_line_and_is_read_from_it_again(reply, line):
    """Requirement P11."""
    assert reply.to_text() == line
    assert TextReply.parse(line) == reply
    assert read_reply(line.encode()) == reply
    assert pickle.loads(pickle.dumps(reply)) == reply


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("bad value\nat line 3\n  port = x\n", "ERR: bad value at line 3 port = x\n"),
        ("a\r\nb", "ERR: a b\n"),
        ("a\n\n\n  b", "ERR: a b\n"),
        ("a\vb\fc\x1cd\x1de\x1ef\x85g\u2028h\u2029i", "ERR: a b c d e f g h i\n"),
        ("\n\n", "ERR: \n"),
        ("\x1b[31mred\x07", "ERR: \\x1b[31mred\\x07\n"),
        ("tab\there\x7f\x9b", "ERR: tab\\x09here\\x7f\\x9b\n"),
        ("evil\u202egnp.exe", "ERR: evil\\u202egnp.exe\n"),
        ("no utf-8: \udcff", "ERR: no utf-8: \\xff\n"),
        ("größer als 5 €", "ERR: größer als 5 €\n"),
    ],
)
def test_an_error_over_several_lines_becomes_one(message, line):
    """The original sent TOML's errors as they were, and its client read the first line only."""
    assert TextReply.error(message).to_text() == line


@pytest.mark.parametrize("make", [TextReply.ok, TextReply.error, TextReply.text])
@given(
    message=st.text(
        alphabet=st.one_of(st.sampled_from(sorted(HARMFUL)), st.characters(exclude_categories=[]))
    )
)
def test_whatever_a_reply_says_it_is_one_harmless_line(make, message):
    line = make(message).to_text()
    assert harmless(line)
    assert line.endswith("\n")
    assert line.encode("utf-8")


@given(st.text(st.characters(codec="utf-8")), st.integers(1, 50))
def test_printing_twice_changes_nothing_more(message, limit):
    once = printable(message)
    assert printable(once) == once
    assert len(printable(message, limit)) <= 10 * limit + 3


status_fields = st.fixed_dictionaries(
    {
        "state": st.sampled_from(["monitoring", "paused"]),
        "uptime_secs": st.integers(0),
        "current_session": st.none() | st.text(st.characters(codec="utf-8")),
        "saves_count": st.integers(0),
        "total_resumes": st.integers(0),
    },
    optional={
        "more": st.dictionaries(
            st.text(st.characters(codec="utf-8")), st.floats(allow_nan=False, allow_infinity=False)
        )
    },
)


@given(status_fields)
def test_a_status_survives_the_way_to_its_reader(fields):
    """Requirement P11: whatever the session file is called, STATUS is one line and means the same."""
    line = TextReply.status(fields).to_text()
    assert line.count("\n") == 1
    assert len(line.splitlines()) == 1
    assert read_reply(line.encode()).fields == fields


def test_a_status_keeps_the_order_of_its_fields():
    line = TextReply.status({"b": 1, "a": 2}).to_text()
    assert list(TextReply.parse(line).fields) == ["b", "a"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "middle of a line"),
        (b"OK", "middle of a line"),
        (b'{"state"', "middle of a line"),
        (b"\xff\n", "not UTF-8"),
        (b'{"state":}\n', "not JSON"),
        (b'{"a":1,"a":2}\n', "twice"),
        (b'{"a":NaN}\n', "NaN"),
        (b"{" * 100_000 + b"\n", "deeper"),
    ],
)
def test_an_answer_that_is_no_reply_is_a_protocol_error(data, why):
    with pytest.raises(BadFrame, match=why):
        read_reply(data)


@pytest.mark.parametrize("line", ["OK \n", "ok\n", "OK:\n", "ERR\n", "ERR:x\n", "[1]\n", "\n", "hello\n"])
def test_an_answer_in_other_words_is_text(line):
    """A newer daemon may say what this client does not know; people can read it all the same."""
    assert TextReply.parse(line) == TextReply.text(line.rstrip("\n"))


def test_bytes_after_the_line_do_not_count():
    assert read_reply(b"OK\nand more") == TextReply.ok()


@given(st.binary())
def test_any_answer_is_read_or_refused(data):
    try:
        reply = read_reply(data)
    except BadFrame:
        return
    assert reply.kind in {"ok", "error", "status", "text"}
    assert (reply.fields is not None) is (reply.kind == "status")
