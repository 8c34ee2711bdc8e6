"""Each kind of answer in each of the forms, and in the one that both options together give."""

import pytest

from mcp_cli.output.printer import printer_of

PEOPLE = {"json": False, "raw": False}
JSON = {"json": True, "raw": False}
RAW = {"json": False, "raw": True}
BOTH = {"json": True, "raw": True}
FINE = {"kind": "done", "plain": True, "text": "words"}
BROKEN = {**FINE, "schema_error": "no x"}
FAILED = {**FINE, "is_error": True}


def printed(capsys, form, method, *arguments):
    getattr(printer_of(**form, save_dir=None), method)(*arguments)
    return tuple(capsys.readouterr())


@pytest.mark.parametrize(
    ("form", "final", "out", "err"),
    [
        (PEOPLE, FINE, "words\n", ""),
        (PEOPLE, FAILED, "", "words\n"),
        (JSON, FINE, '{"outcome":"done","is_error":false,"result":{"x":1e2}}\n', ""),
        (JSON, FAILED, '{"outcome":"done","is_error":true,"result":{"x":1e2}}\n', "words\n"),
        (
            JSON,
            BROKEN,
            '{"outcome":"done","is_error":false,"schema_error":"no x","result":{"x":1e2}}\n',
            "",
        ),
        (RAW, FINE, '{"x":1e2}\n', ""),
        (RAW, FAILED, '{"x":1e2}\n', "words\n"),
        (BOTH, FINE, '{"x":1e2}\n', ""),
    ],
)
def test_a_tools_result(capsys, form, final, out, err):
    assert printed(capsys, form, "tool_result", final, '{"x":1e2}', "s", "t") == (out, err)


def test_a_failure_without_a_text_names_the_tool(capsys):
    final = {"kind": "done", "is_error": True}
    assert printed(capsys, RAW, "tool_result", final, "{}", "s", "t") == ("{}\n", "s/t: failed\n")


def never():
    raise AssertionError("it is made and not printed")


@pytest.mark.parametrize(
    ("form", "method", "out"),
    [
        (PEOPLE, "result", "people\n"),
        (JSON, "result", '{"outcome":"done","result":{"x":1e2}}\n'),
        (RAW, "result", '{"x":1e2}\n'),
        (BOTH, "result", '{"x":1e2}\n'),
        (PEOPLE, "definition", "people\n"),
        (JSON, "definition", '{"x":1e2}\n'),
        (RAW, "definition", '{"x":1e2}\n'),
    ],
)
def test_a_servers_own_json(capsys, form, method, out):
    show = (lambda: print("people")) if form is PEOPLE else never
    assert printed(capsys, form, method, '{"x":1e2}', show) == (out, "")


@pytest.mark.parametrize(
    ("form", "method", "made", "out"),
    [
        (PEOPLE, "document", never, "people\n"),
        (JSON, "document", lambda: "[]", "[]\n"),
        (RAW, "document", never, "people\n"),
        (BOTH, "document", lambda: "[]", "[]\n"),
        (PEOPLE, "facts", never, "people\n"),
        (JSON, "facts", lambda: {"a": 1}, '{"a":1}\n'),
        (RAW, "facts", never, "people\n"),
        (BOTH, "facts", lambda: {"a": 1}, '{"a":1}\n'),
    ],
)
def test_what_is_not_a_servers_own_is_raw_for_nobody(capsys, form, method, made, out):
    show = never if form in (JSON, BOTH) else lambda: print("people")
    assert printed(capsys, form, method, made, show) == (out, "")


@pytest.mark.parametrize(("form", "told"), [(PEOPLE, False), (JSON, True), (RAW, False), (BOTH, True)])
def test_failures_and_remarks_are_each_for_one_of_them(capsys, form, told):
    assert printer_of(**form, save_dir=None).prints_failures == told
    made = (lambda: '{"error":1}') if told else never
    assert printed(capsys, form, "failure", made) == ('{"error":1}\n' if told else "", "")
    show = never if told else lambda: print("people")
    assert printed(capsys, form, "remark", show) == ("" if told else "people\n", "")


def test_programs_are_asked_no_questions():
    assert [printer_of(**form, save_dir=None).for_programs for form in (PEOPLE, JSON, RAW, BOTH)] == [
        False,
        True,
        True,
        True,
    ]
