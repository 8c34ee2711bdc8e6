import pytest

from vx.cli import commands


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense\x1b[2J"],
        ["build", "--nonsense\n"],
        ["explain", "a", "b\x1b]0;t\x07"],
        ["gc", "--max-size"],
    ],
)
def test_wrong_usage_is_one_line_that_leads_to_the_help(arguments: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        commands.run(arguments)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("vx")
    assert "--help)\n" in told
    assert told.count("\n") == 1
    assert "\x1b" not in told
