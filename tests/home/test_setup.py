"""Around a home: imports from other supervisors, the schema of home.toml, units for login."""

import json
import os
import plistlib
import shutil
import socket
import subprocess
import sys
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.errors import ConfigError
from daemonry.home import unit_files
from daemonry.home.home_toml import home_file
from daemonry.home.home_toml.form import FileForm, schema
from daemonry.home.imports import home_text, pm2, process_compose, procfile, supervisord
from daemonry.home.imports.home_text import ImportInvalid
from daemonry.home.unit_files import LoginCommand
from daemonry.testing import wait_until
from daemonry.typed_toml.typed import fields

needs_linux = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="homes need Linux")

PROCFILE = "# two\nweb: sleep 600\nworker: echo here; sleep 600\n"
SUPERVISORD = """
[supervisord]
environment=A="1",B="x,y"
[program:web]
command=sleep 600 ; a comment
autorestart=unexpected
stopsignal=INT
stopwaitsecs=5
numprocs=2
stdout_logfile=/var/log/web.log
umask=022
%s
[program:mail]
command=%%(here)s/mail.sh
[group:back]
programs=web,mail
[include]
files=*.conf
"""
COMPOSE = """
version: "0.5"
processes:
  db:
    command: sleep 600
    readiness_probe: {http_get: {port: 80, path: /ok}, period_seconds: 3, failure_threshold: 4}
  web:
    command: echo up && sleep 600
    depends_on: {db: {condition: process_healthy}}
    ready_log_line: "up (now)"
    liveness_probe: {exec: {command: "true"}, period_seconds: 7}
    availability: {restart: on_failure, max_restarts: 3, backoff_seconds: 2}
    shutdown: {signal: 2, timeout_seconds: 4}
    environment: [A=1, B=2]
  off: {command: x, disabled: true}
"""
PM2 = json.dumps(
    {
        "apps": [
            {
                "name": "my api",
                "script": "api.js",
                "args": "--port 80",
                "instances": 2,
                "max_memory_restart": "200M",
                "env": {"A": 1, "B": True},
                "kill_timeout": 1600,
                "watch": ["src"],
            },
            {"script": "./job.py", "autorestart": False, "instances": "max"},
        ]
    }
)


def table(draft):
    """The services of the text that an import writes."""
    return tomllib.loads(home_text.to_toml(draft, "x"))["services"]


def test_a_procfile():
    found = table(procfile.read(PROCFILE))
    assert found["web"]["command"] == ["sh", "-c", "exec sleep 600"]
    assert found["worker"]["command"] == ["sh", "-c", "echo here; sleep 600"]
    assert [one["environment"]["PORT"] for one in found.values()] == ["5000", "5100"]
    odd = procfile.read("web: true\nweb.2: true\n")
    assert list(odd.services) == ["web"]
    assert "line 2: 'web.2: true' is not of the form NAME: COMMAND, and is left out" in odd.notes
    with pytest.raises(ImportInvalid, match="no NAME: COMMAND"):
        procfile.read("nothing here\n")


def test_a_supervisord_conf():
    draft = supervisord.read(SUPERVISORD % "")
    found = table(draft)
    assert found["web"] == {
        "command": ["sleep", "600"],
        "restart": "on-failure",
        "stop_signal": "INT",
        "stop_timeout": "5s",
        "replicas": 2,
        "groups": ["back"],
    }
    assert found["mail"] == {"command": ["./mail.sh"], "groups": ["back"]}
    assert draft.environment == {"A": "1", "B": "x,y"}
    assert any("umask has no counterpart" in note for note in draft.notes)
    assert any("[include]" in note for note in draft.notes)
    percents = supervisord.read('[program:a]\ncommand=date +%%s\nenvironment=A="%(ENV_B)s",C="5%%"\n')
    assert table(percents)["a"]["command"] == ["date", "+%s"]
    assert any("environment has a value that is filled in later" in note for note in percents.notes)


def test_a_process_compose_yaml():
    pytest.importorskip("yaml")
    draft = process_compose.read(COMPOSE)
    found = table(draft)
    assert found["db"]["ready"] == {"http": "http://127.0.0.1:80/ok"}
    assert found["web"] == {
        "command": ["sh", "-c", "echo up && sleep 600"],
        "environment": {"A": "1", "B": "2"},
        "needs": ["db"],
        "restart": "on-failure",
        "restart_delay": "2s",
        "restarts_max": 3,
        "stop_timeout": "4s",
        "stop_signal": "INT",
        "ready": {"output": "up\\ \\(now\\)"},
        "alive": {"command": ["sh", "-c", "exec true"], "every": "7s"},
    }
    assert "off" not in found


def test_an_ecosystem_config():
    draft = pm2.read(PM2)
    found = table(draft)
    assert found["my-api"]["command"] == ["node", "api.js", "--port", "80"]
    assert found["my-api"]["environment"] == {"A": "1", "B": "true"}
    assert (found["my-api"]["replicas"], found["my-api"]["memory_max"]) == (2, "200M")
    assert found["job"]["command"] == ["python3", "./job.py"]
    assert found["job"]["restart"] == "never"
    assert "my api: is called my-api here" in draft.notes


@pytest.mark.parametrize(
    ("app", "command"),
    [
        ({"script": "npm", "args": "start"}, ["npm", "start"]),
        ({"script": "sleep", "args": ["5"]}, ["sleep", "5"]),
        ({"script": "no-such-tool"}, ["./no-such-tool"]),
        ({"script": "bin/www", "node_args": "--inspect"}, ["node", "--inspect", "bin/www"]),
        ({"script": "bin/www"}, ["bin/www"]),
        ({"script": "a.js", "interpreter": "none"}, ["./a.js"]),
    ],
)
def test_the_script_of_an_app_is_found_as_pm2_finds_it(app, command):
    found = table(pm2.read(json.dumps({"apps": [{"name": "a", **app}]})))
    assert found["a"]["command"] == command


def test_ten_keys_that_are_not_known_are_ten_notes():
    extra = "\n".join(f"key{number}=1" for number in range(10))
    notes = supervisord.read(SUPERVISORD % extra).notes
    assert all(any(f"key{number} " in note for note in notes) for number in range(10))
    apps = [{"script": "x.sh", **{f"key{number}": 1 for number in range(10)}}]
    notes = pm2.read(json.dumps({"apps": apps})).notes
    assert sum("has no counterpart, and is left out" in note for note in notes) == 10


@pytest.mark.parametrize(
    "command",
    [
        "true",
        "A=1 B=2 true",
        "exec true",
        "cd . && true",
        "if true; then true; fi",
        "./no\\ such || true",
        "'true'",
    ],
)
def test_a_command_of_a_shell_is_run_as_the_shell_would(command):
    assert subprocess.run(home_text.shell(command), check=False).returncode == 0


def test_the_shell_becomes_a_simple_program_so_that_signals_reach_it():
    assert home_text.shell("sleep 100") == ["sh", "-c", "exec sleep 100"]
    assert home_text.shell("PORT=1 sleep 100") == ["sh", "-c", "PORT=1 sleep 100"]


@given(st.text())
def test_any_text_is_read_or_refused(text):
    for read in (procfile.read, supervisord.read, pm2.read):
        try:
            draft = read(text)
        except ImportInvalid:
            continue
        tomllib.loads(home_text.to_toml(draft, text))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "env", "watch", "x"]), inner)
    ),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(["name", "args", "cwd", "env", "instances", "watch", "autorestart"]), JSON
    )
)
def test_any_app_is_read_or_refused(app):
    try:
        draft = pm2.read(json.dumps({"apps": [{"script": "a.sh", **app}]}))
    except (ImportInvalid, ValueError):
        return
    assert tomllib.loads(home_text.to_toml(draft, "x"))["services"]


@needs_linux
def test_an_import_writes_a_home_that_comes_up(shop):
    source = shop.sandbox.path / "Procfile"
    source.write_text(PROCFILE)
    done = shop.sandbox.daemonry("import", str(source), "--home", str(shop.path))
    assert (done.code, done.out) == (0, f"{shop.path}/home.toml: 2 services, 1 notes\n")
    again = shop.sandbox.daemonry("import", str(source), "--home", str(shop.path))
    assert (again.code, "--force" in again.err) == (1, True)
    text = (shop.path / "home.toml").read_text()
    shown = shop.sandbox.daemonry("import", str(source), "--print").out
    assert tomllib.loads(shown) == tomllib.loads(text)
    (shop.path / "home.toml").write_text('inherit = ["DAEMONRY_SANDBOX"]\n' + text)
    shop.up()
    assert {one["state"] for one in shop.ps().values()} == {"ready"}


def test_a_file_of_another_kind_is_refused_in_one_line(sandbox):
    for name, text in (
        ("x.txt", ""),
        ("Procfile", "no colon"),
        ("supervisord.conf", "x"),
        ("ecosystem.config.json", "{"),
    ):
        (sandbox.path / name).write_text(text)
        done = sandbox.daemonry("import", str(sandbox.path / name))
        assert (done.code in (1, 2), done.out, len(done.err.splitlines())) == (True, "", 1)


# --- the schema -------------------------------------------------------------------------------------

FILES = [
    ('[services.a]\ncommand = "true"\nrestart = "always"', True),
    ('[services.a]\ncommand = ["true"]\nready = { http = "/" }\nalive = "10s"', True),
    (
        '[services.a]\ncommand = "true"\nalive = { every = 5, failures = 2 }\nstop_signal = ["INT", "TERM"]',
        True,
    ),
    ('[services.a]\ncommand = "true"\nschedule = { every = "1h" }\nmemory_max = "20M"\ncpu_max = 0.5', True),
    ('[services.a]\ncommand = "true"\nrestrat = "always"', False),
    ('[services.a]\ncommand = "true"\nrestart = "sometimes"', False),
    ('[services.a]\ncommand = "true"\nready = { http = 5 }', False),
    ("[services.a]\ncommand = 5", False),
    ('[services.a]\ndirectory = "."', False),
    ("servcies = {}", False),
]


@pytest.mark.parametrize(("text", "fits"), FILES)
def test_the_schema_and_the_reader_agree(tmp_path, text, fits):
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(schema())
    assert validator.is_valid(tomllib.loads(text)) is fits
    (tmp_path / "home.toml").write_text(text)
    try:
        home_file.load(str(tmp_path))
    except ConfigError:
        assert not fits
    else:
        assert fits


def test_the_schema_has_every_key_of_the_reader():
    found = schema()["$defs"]
    assert set(found["FileForm"]["properties"]) == set(fields(FileForm))
    service = fields(FileForm)["services"][1].__args__[1]
    assert set(found["ServiceForm"]["properties"]) == set(fields(service))


def test_the_schema_is_printed(sandbox):
    assert sandbox.daemonry("schema").json() == schema()


# --- at login ---------------------------------------------------------------------------------------

JOB = LoginCommand(
    "daemonry-x",
    "100% x",
    ("up", "--foreground", "--home", '/a b/$c%d"e'),
    "/no/python",
    "/run/x.sock",
    "/u/x.service",
)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path):
    for kind, text in (("service", unit_files.service_unit(JOB)), ("socket", unit_files.socket_unit(JOB))):
        (tmp_path / f"daemonry-x.{kind}").write_text(text)
    units = [str(tmp_path / f"daemonry-x.{kind}") for kind in ("service", "socket")]
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", *units], capture_output=True, text=True, check=False
    )
    complaints = [line for line in done.stderr.splitlines() if "daemonry-x" in line]
    assert complaints == []


def test_a_property_list_holds_the_command():
    assert plistlib.loads(unit_files.plist(JOB).encode())["ProgramArguments"] == list(JOB.command)


def ran(job, **env):
    return subprocess.run(
        job.command, env={"HOME": "/nowhere", **env}, capture_output=True, text=True, check=False
    )


def test_a_unit_whose_interpreter_is_gone_finds_daemonry_on_the_path(tmp_path):
    (tmp_path / "daemonry").write_text('#!/bin/sh\necho "found: $@"\n')
    (tmp_path / "daemonry").chmod(0o755)
    done = ran(JOB._replace(words=("up", "a b")), PATH=f"{tmp_path}:/usr/bin:/bin")
    assert (done.returncode, done.stdout) == (0, "found: up a b\n")


def test_a_unit_says_so_and_ends_when_daemonry_was_uninstalled(tmp_path):
    done = ran(JOB, PATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == (
        "daemonry is not installed any more: remove /u/x.service, or run daemonry install again\n"
    )


@pytest.mark.parametrize("at", ["bin", "home/.local/bin"])
def test_a_daemonry_of_a_moved_environment_counts_as_none(tmp_path, at):
    """Its file is there, but the interpreter of its first line is not: exec ended with 127, for ever."""
    dead = tmp_path / at / "daemonry"
    dead.parent.mkdir(parents=True)
    dead.write_text("#!/no/python\n")
    dead.chmod(0o755)
    done = ran(JOB, PATH=str(tmp_path / "bin"), HOME=str(tmp_path / "home"))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == (
        "daemonry is not installed any more: remove /u/x.service, or run daemonry install again\n"
    )


def test_behind_a_dead_daemonry_of_the_path_the_users_own_is_found(tmp_path):
    for at, text in (("bin", "#!/no/python\n"), (".local/bin", '#!/bin/sh\necho "found: $@"\n')):
        (tmp_path / at).mkdir(parents=True)
        (tmp_path / at / "daemonry").write_text(text)
        (tmp_path / at / "daemonry").chmod(0o755)
    done = ran(JOB._replace(words=("up",)), PATH=str(tmp_path / "bin"), HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "found: up\n")


def test_an_uninstalled_unit_ends_without_a_failure_and_without_a_socket_that_starts_it_again(tmp_path):
    """An end before READY=1 is a failure to systemd, which started such a unit five times."""
    for name in ("systemd-notify", "systemctl"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $@"\n')
        (tmp_path / name).chmod(0o755)
    assert ran(JOB, PATH=str(tmp_path)).stdout.splitlines() == [
        "systemd-notify --ready",
        "systemctl --user --no-block stop daemonry-x.socket",
    ]
    assert ran(JOB._replace(socket_path=""), PATH=str(tmp_path)).stdout == "systemd-notify --ready\n"


@needs_linux
def test_install_writes_units_and_uninstall_leaves_nothing(shop, service):
    shop.write(service("a"))
    done = shop.cli("install", "--manager", "systemd")
    assert done.code == 0, done
    path = done.out.split(":")[0]
    assert os.path.exists(path)
    assert "linger" in done.err
    assert "systemctl --user enable --now" in done.err or "cannot be reached" not in done.err
    assert shop.cli("uninstall", "--manager", "systemd").out == f"{path}: removed\n"
    assert "not installed" in shop.cli("uninstall", "--manager", "systemd").out
    assert not os.path.exists(path)


@needs_linux
def test_a_home_run_by_its_unit_tells_the_manager_and_ends_by_sigterm(shop, service):
    shop.write(service("a"))
    printed = shop.cli("install", "--manager", "systemd", "--print").out
    assert "Type=notify" in printed
    job = LoginCommand("x", "x", ("up", "--foreground", "--home", str(shop.path)), sys.executable, "", "/u")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(shop.sandbox.path / "notify"))
        manager.settimeout(30)
        variables = (f"NOTIFY_SOCKET={shop.sandbox.path}/notify", "WATCHDOG_USEC=200000")
        process = shop.sandbox.popen("env", *variables, *job.command)
        assert manager.recv(1000).startswith(b"READY=1")
        assert manager.recv(1000) == b"WATCHDOG=1"
        wait_until(lambda: shop.home.is_up() and shop.ps()["a"]["state"] == "ready", what="it is up")
        process.terminate()
        process.communicate(timeout=30)
    os.unlink(shop.sandbox.path / "notify")
    assert process.returncode == 0
    shop.wait_nothing()


def test_what_is_to_be_installed_is_one_thing(sandbox):
    for words in ((), ("x", "--home", "."), ("unix:/x",)):
        done = sandbox.daemonry("install", *words)
        assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)


def test_a_daemon_that_was_never_started_here_is_not_installed(sandbox):
    done = sandbox.daemonry("install", "nothere", "--manager", "systemd")
    assert (done.code, done.out, done.err) == (2, "", sandbox.daemonry("run", "nothere").err)
    assert "no daemon of this name was started here: give its module or file" in done.err
    assert not list(sandbox.path.rglob("daemonry-nothere.*"))
    assert sandbox.daemonry("uninstall", "nothere", "--manager", "systemd").code == 0


def test_a_daemon_that_was_started_here_is_installed_by_its_name(sandbox, tmp_path):
    program = tmp_path / "shop.py"
    program.write_text("from daemonry import Daemon\n\ndaemon = Daemon('shop')\n")
    assert sandbox.daemonry("start", str(program)).code == 0
    assert sandbox.daemonry("stop", "shop").code == 0
    done = sandbox.daemonry("install", "shop", "--manager", "systemd", "--print")
    assert done.code == 0, done
    assert " run shop\n" in done.out


def test_a_program_whose_file_is_gone_is_uninstalled_by_what_its_unit_runs(sandbox, tmp_path):
    """Its name is only in the file: `uninstall prog.py` failed once the file was removed first."""
    program = tmp_path / "a 'shop' $x %y.py"
    program.write_text("from daemonry import Daemon\n\ndaemon = Daemon('shop')\n")
    other = tmp_path / "other.py"
    other.write_text("from daemonry import Daemon\n\ndaemon = Daemon('other')\n")
    for one in (program, other):
        assert sandbox.daemonry("install", str(one), "--manager", "systemd").code == 0
    units = {path.name: path for path in sandbox.path.rglob("daemonry-*.s*")}
    assert sorted(units) == [
        f"daemonry-{n}.{kind}" for n in ("other", "shop") for kind in ("service", "socket")
    ]
    program.unlink()
    done = sandbox.daemonry("uninstall", str(program), "--manager", "systemd")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        f"{units[f'daemonry-shop.{kind}']}: removed" for kind in ("service", "socket")
    ]
    assert not units["daemonry-shop.service"].exists()
    assert units["daemonry-other.service"].exists()
    again = sandbox.daemonry("uninstall", str(program), "--manager", "systemd")
    assert again.code == 2
    assert "there is no such file" in again.err


@pytest.mark.parametrize("form", [unit_files.service_unit, unit_files.plist])
def test_a_unit_runs_its_program_and_no_other(form):
    job = JOB._replace(words=("run", "/a/b & <c> $d %e.py"))
    assert unit_files.runs(form(job), "/a/b & <c> $d %e.py")
    assert not unit_files.runs(form(job), "e.py")
    assert not unit_files.runs(form(job._replace(words=("up", "x", "/a.py"))), "/a.py")
    assert not unit_files.runs(form(job).replace("Made by", ""), "/a/b & <c> $d %e.py")
