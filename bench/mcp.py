"""One MCP tool call from a shell: mcp-cli warm and without its daemon, mcporter, mcpc, fastmcp, bare Python.

Owns a private environment as `cli` has it, with mcp-cli in it, server-everything and mcporter from npm (in
.npm, which git ignores), and the two daemons.  The whole process is timed, from exec to exit; all commands
run in turn in each round, on one CPU.  What the server itself takes is measured too, inside one connection,
since no command can be faster than that.

The promises are held against the CPU time of the commands' processes, the median of the rounds' ratios to the
interpreter of the same round: the machine is seldom alone.  fastmcp is a row where its command is found
(`--fastmcp`, or on PATH).  The exit code is 1 if a command could not be run, or if a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cli import (
    BASE,
    ROOT,
    Failed,
    Row,
    Surroundings,
    measure,
    pin,
    table,
    times_bare,
    trouble_with_the_machine,
)
from launched import launchers
from targets import verdict

NPM_DIR = ROOT / ".npm"
# mcporter's newest wants a newer Node than a stable Debian has: npm has that too, as a package.
NODE = "node@24"
PACKAGES = ("@modelcontextprotocol/server-everything", "mcporter", "@apify/mcpc")
WARM = "mcp-cli call (warm)"
LIST = "mcp-cli list (warm)"
LAUNCHED = "launcher: mcp-cli call (warm)"
COLD_PEER = "npx mcporter call (cold)"
WARM_PEER = "npx mcporter call (keep-alive daemon)"
# The promises: at most so many times an interpreter that does nothing, in CPU time, and ten times as fast as
# mcporter's fastest.
MOST_TIMES_BARE = {WARM: 1.3, LIST: 2.0}
LAUNCHED_TIMES_BARE = 0.3
LEAST_TIMES_FASTER = 10.0
SERVER_CALLS = 200
SETTLE_S = 2.1


class Place(Surroundings):
    """The environment of `cli`, with mcp-cli in it and the npm packages beside it."""

    def _make(self, venv_dir: Path) -> None:
        import venv

        print("making a clean virtual environment (a minute or so) ...", file=sys.stderr)
        venv.create(venv_dir, symlinks=True, with_pip=True)
        self.environment["PIP_CONSTRAINT"] = str(ROOT / "constraints.txt")
        install = (self.command("python3"), "-m", "pip", "install", "--quiet")
        self.run(*install, "--upgrade", "pip")
        self.run(*install, str(ROOT), str(ROOT / "apps/mcp-cli"))

    def configure(self) -> None:
        """Write both programs' configurations, in the home directory, where the commands run."""
        server = [node(), str(NPM_DIR / "node_modules/.bin/mcp-server-everything")]
        self.environment["PATH"] = f"{Path(node()).parent}{os.pathsep}{self.environment['PATH']}"
        (self.home / "mcp_servers.toml").write_text(
            "daemon_ttl = 600\n[[servers]]\nname = 'everything'\n"
            f"transport = {{ type = 'stdio', command = {server[0]!r}, args = [{server[1]!r}] }}\n"
        )
        (self.home / "config").mkdir()
        entry = {"command": server[0], "args": [server[1]]}
        both = {"everything": entry, "kept": {**entry, "lifecycle": "keep-alive"}}
        (self.home / "config/mcporter.json").write_text(json.dumps({"mcpServers": both, "imports": []}))
        # What was parsed of a file is remembered once the file has been the same for two seconds; a
        # user's has.
        time.sleep(SETTLE_S)


@contextmanager
def surroundings(env_dir: Path | None) -> Iterator[Place]:
    """Make the environment, and remove it; a virtual environment at `env_dir` stays."""
    with tempfile.TemporaryDirectory(prefix="daemonry-bench-") as directory:
        private = Path(directory)
        place = Place(env_dir or private / "venv", private)
        place.configure()
        yield place


def install_packages() -> None:
    """Have npm install the server and the peer, if they are not there.

    Raises:
        Failed: it could not.
    """
    if all((NPM_DIR / "node_modules" / package).is_dir() for package in PACKAGES):
        return
    npm = shutil.which("npm")
    if npm is None:
        raise Failed("npm is not installed")
    NPM_DIR.mkdir(exist_ok=True)
    # The second run is by the Node that the first fetched: npm takes the newest that its own Node runs.
    for words in ([NODE], [f"{package}@latest" for package in PACKAGES]):
        print(f"npm install {' '.join(words)} ...", file=sys.stderr)
        done = subprocess.run(
            [npm, "install", "--no-audit", "--no-fund", "--prefix", str(NPM_DIR), *words],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PATH": f"{NPM_DIR / 'node_modules/node/bin'}:{os.environ.get('PATH', '')}"},
        )
        if done.returncode:
            # Its last lines name its log.
            told = [line for line in done.stderr.splitlines() if "reason:" in line or "code" in line]
            raise Failed(f"npm install failed: {'; '.join(told) or done.stderr.strip()}")


def node() -> str:
    """Return the interpreter that all of npm's packages run on: npm's own Node, or else the machine's."""
    own = NPM_DIR / "node_modules/node/bin/node"
    return str(own) if own.exists() else shutil.which("node") or "node"


def version_of(package: str) -> str:
    """Return the version of an npm package that is installed."""
    return str(json.loads((NPM_DIR / "node_modules" / package / "package.json").read_text())["version"])


def rows(here: Place, stack: ExitStack, fastmcp: str | None) -> list[Row]:
    """Start both daemons, have each command make one call, and return what is measured."""
    mcp = here.command("mcp-cli")
    ours = [mcp, "call", "everything/echo", "message=hello"]
    npx = shutil.which("npx") or "npx"
    peer = [npx, "--prefix", str(NPM_DIR), "--no-install", "mcporter"]
    bin_peer = [node(), str(NPM_DIR / "node_modules/mcporter/dist/cli.js")]
    stack.callback(_quietly, here, mcp, "daemon", "stop", "--force")
    stack.callback(_quietly, here, *peer, "daemon", "stop")
    found = [
        Row(BASE, [here.command("python3"), "-c", "pass"]),
        Row("node -e 0", [node(), "-e", "0"]),
        Row(WARM, ours),
        Row(LIST, [mcp, "list", "everything"]),
        Row("mcp-cli --no-daemon call", [mcp, "--no-daemon", *ours[1:]]),
        Row(COLD_PEER, [*peer, "call", "everything.echo", "message=hello"]),
        Row(WARM_PEER, [*peer, "call", "kept.echo", "message=hello"]),
        Row(
            "mcporter call (keep-alive daemon, without npx)",
            [*bin_peer, "call", "kept.echo", "message=hello"],
        ),
    ]
    native = here.runtime.parent / "native"
    trouble = launchers(here.bin, native, "mcp-cli")
    found.insert(3, Row(LAUNCHED, [str(native / "mcp-cli"), *ours[1:]], trouble=trouble))
    found += _further_peers(here, stack, fastmcp)
    os.chdir(here.home)
    for row in found:
        if row.trouble:
            continue
        try:
            said = here.run(*row.words)
            said = here.run(*row.words)
        except (Failed, OSError) as error:
            row.trouble = str(error)
            continue
        if "echo" in " ".join(row.words) and "hello" not in said:
            row.trouble = f"answered {said[:80]!r}"
    return found


def _further_peers(here: Place, stack: ExitStack, fastmcp: str | None) -> list[Row]:
    """Return the rows of mcpc, whose session is opened, and of fastmcp's command, which keeps no server."""
    mcpc = [node(), str(NPM_DIR / "node_modules/.bin/mcpc")]
    config = here.home / "config/mcporter.json"
    opened = Row("mcpc tools-call (its session)", [*mcpc, "@b", "tools-call", "echo", "message:=hello"])
    try:
        here.run(*mcpc, "connect", f"{config}:everything", "@b")
        stack.callback(_quietly, here, *mcpc, "@b", "close")
    except (Failed, OSError) as error:
        opened.trouble = str(error)
    found = [opened]
    if fastmcp is not None:
        server = f"{node()} {NPM_DIR / 'node_modules/.bin/mcp-server-everything'}"
        words = [fastmcp, "call", "--command", server, "--target", "echo", "--input-json"]
        found.append(Row("fastmcp call", [*words, '{"message": "hello"}']))
    return found


def _quietly(here: Place, *words: str) -> None:
    try:
        here.run(*words)
    except (Failed, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)


_IN_ONE_CONNECTION = """
import sys, time
from daemonry import Client
from mcp_cli.client import connect, options
from mcp_cli.config import files, model
read = files.load(None, options.environment())
digits = model.definition(read.servers[0], read, options.environment())["fingerprint"]
call = {"server": "everything", "fingerprint": digits, "tool": "echo", "words": ["message=x"], "logs": False}
client = Client.connect("unix:" + connect.socket_path())
took = []
for _ in range(int(sys.argv[1])):
    begun = time.perf_counter()
    *_, last = client.stream("org.daemonry.mcp.Call", call)
    took.append((1000 * (time.perf_counter() - begun), last.get("ms", 0.0)))
took.sort()
print(took[len(took) // 2][0], sorted(ms for _, ms in took)[len(took) // 2])
"""


def inside(here: Place) -> tuple[float, float]:
    """Return the median of a call within one connection, and what of it the server took, in ms."""
    said = here.run(here.command("python3"), "-c", _IN_ONE_CONNECTION, str(SERVER_CALLS)).split()
    return float(said[0]), float(said[1])


def verdicts(found: list[Row], server_ms: float) -> Iterator[tuple[bool, str]]:
    """Yield each promise: whether it is kept, and a line."""
    median = {row.title: statistics.median(row.times_ms) for row in found if row.times_ms}
    if WARM not in median or BASE not in median:
        return
    yield True, f"in {WARM} the server itself takes {server_ms:.1f} ms, which no row's CPU time has in it"
    for row in found:
        if row.title in MOST_TIMES_BARE and row.cpu_ms:
            times, most = times_bare(found, row), MOST_TIMES_BARE[row.title]
            yield times <= most, verdict(f"{row.title}, times the CPU time of `{BASE}`", times, most)
        if row.title == LAUNCHED and row.cpu_ms:
            times = times_bare(found, row)
            line = verdict(f"{LAUNCHED}, times the CPU time of `{BASE}`", times, LAUNCHED_TIMES_BARE)
            yield times <= LAUNCHED_TIMES_BARE, line
    peers = [median[row.title] for row in found if "mcporter" in row.title and row.title in median]
    if peers:
        faster = min(peers) / median[WARM]
        told = f"{WARM}, times as fast as mcporter's fastest"
        yield faster >= LEAST_TIMES_FASTER, verdict(told, faster, LEAST_TIMES_FASTER, least=True)


def main() -> int:
    """Measure, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/bench mcp", description="Time one MCP tool call.")
    parser.add_argument("--rounds", type=int, default=30, help="how often each command is run (%(default)s)")
    parser.add_argument("--env", type=Path, help="keep the virtual environment here, or use the one there")
    parser.add_argument("--fastmcp", default=shutil.which("fastmcp"), help="fastmcp's command (%(default)s)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # and clean up
    try:
        install_packages()
        with ExitStack() as stack:
            here = stack.enter_context(surroundings(options.env and options.env.absolute()))
            stack.callback(os.chdir, "/")
            pinned = pin()
            found = rows(here, stack, options.fastmcp)
            measure(here, found, options.rounds)
            os.chdir(here.home)
            call_ms, server_ms = inside(here)
    except Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    versions = ", ".join(f"{package.rpartition('/')[2]} {version_of(package)}" for package in PACKAGES)
    machine = f"{os.cpu_count()} CPUs, {platform.system()} {platform.machine()}"
    print(f"{machine}, Python {platform.python_version()}, {versions}")
    print(f"{options.rounds} interleaved rounds, {pinned}")
    print("\n".join(("", *table(found), "")))
    print(f"within one connection a call takes {call_ms:.2f} ms, of which the server {server_ms:.2f} ms")
    told = list(verdicts(found, server_ms))
    print("\n".join((*(line for _, line in told), *trouble_with_the_machine(found))))
    return 1 if any(row.trouble for row in found) or not all(kept for kept, _ in told) else 0


if __name__ == "__main__":
    sys.exit(main())
