"""Shell completion, asked of the real shells: the scripts parse, and what they offer is what there is."""

import shutil

import pytest

COMPLETE = """
source <(daemonry completion bash)
COMP_WORDS=({words}) COMP_CWORD={at}
COMPREPLY=()
compopt() {{ :; }}
_daemonry
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def offered(shell):
    """A function that returns what bash offers for the last of some words."""

    def offered(*words):
        quoted = " ".join(f"'{word}'" for word in ("daemonry", *words))
        done = shell(COMPLETE.format(words=quoted, at=len(words)))
        assert (done.code, done.err) == (0, "")
        return done.out.split()

    return offered


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_the_script_parses(shell, name):
    if shutil.which(name) is None:
        pytest.skip(f"there is no {name} here")
    parsed = shell(f"daemonry completion {name} > script && {name} -n script")
    assert (parsed.code, parsed.err) == (0, "")


def test_bash_takes_the_script(shell):
    registered = shell("source <(daemonry completion bash); complete -p daemonry")
    assert registered.out == "complete -o default -F _daemonry daemonry\n"


def test_a_programs_own_command_has_one_too(shell, program):
    done = shell("source <(python probe.py completion bash); complete -p")
    assert (done.code, done.err) == (0, "")
    assert "probe.py" in done.out


def test_commands_are_offered_first(offered):
    assert {"run", "start", "stop", "status", "logs", "ps", "completion"} <= set(offered(""))
    assert offered("sta") == ["start", "status"]
    assert offered("nothing") == []


def test_the_names_of_your_daemons_are_offered(sandbox, offered, program):
    assert offered("status", "") == []
    sandbox.start(program)
    assert offered("status", "") == ["probe"]
    assert offered("stop", "pr") == ["probe"]
    assert offered("stop", "x") == []


def test_options_are_offered(offered):
    assert set(offered("stop", "probe", "--")) >= {"--force", "--json", "--timeout"}
    assert offered("ps", "--n") == ["--names"]
    assert offered("completion", "f") == ["fish"]
    assert set(offered("logs", "probe", "--")) == {"--follow", "--tail", "--since", "--json"}
