"""Shell completion, asked of the real shells: the scripts parse, and what they offer is what there is."""

import re
import shutil
import sys

import pytest

SHELLS = ("bash", "zsh", "fish")


def need(name):
    """Skip, and say what was not tried, where a shell is not installed."""
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed: its completion was not tried")


# Each shell's own way to ask: the script is loaded, and the completion of a line that ends in its
# last word is printed, a candidate a line.  Bash is given the words as it breaks them itself.
BASH = r"""
source <({program} completion bash)
COMP_WORDS=({words}) COMP_CWORD={at} COMPREPLY=()
compopt() {{ echo "compopt $*"; }}
_{function}
printf '%s\n' "${{COMPREPLY[@]}}"
"""
ZSH = r"""
compdef() {{ registered=$2 }}
source <({program} completion zsh)
[[ $registered == {program} ]] || exit 1
words=({words}) CURRENT={at}+1
compadd() {{
    [[ $1 == -S && $4 != "" ]] && print -r -- compopt -o nospace
    while [[ $1 != -- ]]; do shift; done
    shift
    for one; do print -r -- ${{(q)one}}; done
}}
_files() {{ print -r -- compopt -o default }}
_{function}
"""
FISH = r"""
{program} completion fish | source
function __fish_complete_path; echo "$argv[1]compopt -o default"; end
complete -C "{line}"
"""
FILES = "compopt -o default"
NO_SPACE = "compopt -o nospace"


class Asked:
    """One of the shells, asked what it offers for the last of some words."""

    def __init__(self, name, sandbox):
        self.name = name
        self._sandbox = sandbox

    def __call__(self, *words, program="daemonry"):
        """What is offered, without what the shell is told besides."""
        return [one for one in self.lines(*words, program=program) if not one.startswith("compopt ")]

    def lines(self, *words, program="daemonry"):
        """All lines, "compopt ..." among them where the shell offers files or adds no blank."""
        words = (program, *words)
        quoted = " ".join(f"'{word}'" for word in words)
        script = {"bash": BASH, "zsh": ZSH, "fish": FISH}[self.name]
        script = script.format(
            words=quoted,
            at=len(words) - 1,
            line=" ".join(words),
            program=program,
            function=re.sub(r"\W", "_", program),
        )
        # `-f`, `-N`: nothing of whoever runs the tests.
        options = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["-N"]}[self.name]
        done = self._sandbox.run(self.name, *options, "-c", script)
        assert (done.code, done.err) == (0, "")
        return sorted(FILES if line.endswith(FILES) else line for line in done.out.splitlines() if line)


@pytest.fixture(params=SHELLS)
def offered(request, sandbox, shell):
    """A function that returns what a shell offers for the last of some words; in each shell."""
    need(request.param)
    return Asked(request.param, sandbox)


@pytest.mark.parametrize("name", SHELLS)
def test_the_script_parses(shell, name):
    need(name)
    parsed = shell(f"daemonry completion {name} > script && {name} -n script")
    assert (parsed.code, parsed.err) == (0, "")


def test_bash_takes_the_script(shell):
    registered = shell("source <(daemonry completion bash); complete -p daemonry")
    assert registered.out == "complete -F _daemonry daemonry\n"


def test_a_programs_own_command_has_one_too(shell, program):
    done = shell("source <(python probe.py completion bash); complete -p")
    assert (done.code, done.err) == (0, "")
    assert "probe.py" in done.out


def test_commands_are_offered_first(offered):
    assert {"run", "start", "stop", "status", "logs", "ps", "completion"} <= set(offered(""))
    assert offered("sta") == ["start", "status"]
    assert offered("up") == ["up", "upgrade"]
    assert set(offered("upgrade", "probe", "--")) == {
        "--config",
        "--help",
        "--host",
        "--json",
        "--log-level",
        "--timeout",
    }
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
    assert set(offered("logs", "probe", "--")) == {
        "--all",
        "--follow",
        "--help",
        "--home",
        "--host",
        "--json",
        "--since",
        "--tail",
    }
    assert offered("run", "probe", "--log-level", "d") == ["debug"]
    assert "--json" not in offered("stop", "probe", "--json", "--")  # it stands there


def test_machines_are_offered_where_a_command_may_run(sandbox, offered, program):
    sandbox.write("home/.ssh/config", "Host box *.example !no\n  HostName x\nhost = den\nMatch all\n")
    sandbox.write("home/.config/daemonry/daemonry.toml", 'hosts = ["me@attic"]\n')
    sandbox.env |= {"HOME": str(sandbox.path / "home")}
    assert offered("--host", "") == ["box", "den", "me@attic"]
    assert offered("status", "--host", "b") == ["box"]
    assert offered("status", "--h") == ["--help", "--host"]
    sandbox.write("home/.config/daemonry/daemonry.toml", "hosts = 7\n")
    assert offered("ps", "--host", "") == ["box", "den"]


def test_files_are_offered_where_one_may_stand(offered):
    assert offered.lines("check", "probe", "--config", "") == [FILES]
    assert offered.lines("status", "./") == [FILES]  # a program is a target, too
    assert offered.lines("logs", "probe", "--since", "") == []
    assert offered.lines("call", "nobody", "") == []


def test_a_home_s_commands_know_its_services(sandbox, offered):
    home = sandbox.path / "home.toml"
    home.write_text('[services.web]\ncommand = ["sleep", "9"]\n[services.base]\ncommand = ["sleep", "9"]\n')
    assert offered("logs", "--home", str(sandbox.path), "") == ["base", "web"]
    assert offered("restart", "--home", str(sandbox.path), "w") == ["web"]
    assert offered("reload", "--home", "nowhere", "--t") == ["--timeout"]
    assert offered("down", "--j") == ["--json"]


PAINT = """
import enum

from daemonry import Daemon, Interface

class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"

class Paint(Interface, name="org.example.paint"):
    def fill(self, color: Color, wet: bool = False, name: str = "") -> None: ...
    def find(self, at: int) -> None: ...

daemon = Daemon("paint")
daemon.serve(Paint())
"""


def test_the_live_daemon_is_asked_what_it_can_be_asked(sandbox, offered):
    sandbox.start(sandbox.write("paint.py", PAINT))
    fill = "org.example.paint.Fill"
    assert offered("describe", "paint", "org.ex") == ["org.example.paint"]
    assert offered("call", "paint", "org.example.paint.") == [fill, "org.example.paint.Find"]
    assert offered("call", "--timeout", "5", "paint", f"{fill}") == [fill]
    assert offered("call", "paint", fill, "") == ["color=", "name=", "wet="]
    if offered.name == "bash":  # which has broken the words, and puts in what is behind the last break
        assert offered("call", "paint", fill, "color", "=", "red", "w") == ["wet="]
        assert offered("call", "paint", fill, "color", "=") == ["blue", "red"]
        assert offered("call", "paint", fill, "color", "=", "r") == ["red"]
    else:
        assert offered("call", "paint", fill, "color=red", "w") == ["wet="]
        assert offered("call", "paint", fill, "color=") == ["color=blue", "color=red"]
        assert offered("call", "paint", fill, "wet=t") == ["wet=true"]
    assert offered("call", "nobody", "") == []


def test_what_stands_behind_an_option_is_not_the_daemons_name(offered):
    assert offered("status", "--timeout", "") == []


def test_what_others_chose_is_inserted_as_text(sandbox, shell, offered):
    """A name that is a command in a shell's eyes is quoted by the shell that inserts it."""
    assert shell("true").code == 0
    command = sandbox.write(
        "bin/tool", f"#!{sys.executable}\nimport sys\nfrom daemonry.cli import completion\n" + TOOL
    )
    command.chmod(0o755)
    if offered.name != "fish":  # which quotes as it inserts; what it lists is not quoted
        assert offered.lines("say", "$(", program="tool") == [r"\$\(touch\ x\)"]
    assert not (sandbox.path / "x").exists()


TOOL = """
from daemonry.cli.grammar import Command, Program, ValueKind, Word
NAME = ValueKind("name")
table = Program("tool", "A tool.", "1", (Command("say", "say it", (Word("name", "NAME", kind=NAME),)),))
if sys.argv[1] == "completion":
    sys.exit(completion.print_script(sys.argv[2], "tool"))
names = ["$(touch x)", "$(two\\nlines", "$(\\x1b[2J"]
sys.exit(completion.answer(table, sys.argv[2:], {NAME: lambda cursor: names}))
"""
