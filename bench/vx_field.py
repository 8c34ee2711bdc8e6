"""Builds crates of Debian's librust packages with vx and with cargo, and says how the two differ.

    scripts/vx-field --cache DIR [--first N] [--crates NAME,...]   build, and keep the results in DIR
    scripts/vx-field --cache DIR --table                                     print the table of all results

The crates and the seed that drew them are in bench/vx_field.txt.  All librust packages are downloaded once
(`apt-get download`, 90 MB; no root) and unpacked below DIR, where they are one directory source for both; of
`--crates` only those that they need.
Each crate is built as the root package, without its dev-dependencies, with its default features and the lints
capped, for Debian's crates are older than the compiler.  Built by both, the names of the outputs and the
symbols that they define must be equal, less hashes; programs must answer `--version` and `--help` alike.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any, Final

NAMES: Final = Path(__file__).with_name("vx_field.txt")
BUILD_TIMEOUT_S: Final = 600
RUN_TIMEOUT_S: Final = 20
# Of a crate's optional dependencies, those that Debian does not have are left out, one at a time.
MOST_LEFT_OUT: Final = 40
FLAGS: Final = "--cap-lints=allow"
_MISSING: Final = (
    re.compile(r"no matching package(?: named)? `([^`]+)`"),
    re.compile(r"failed to select a version for the requirement `([\w-]+) "),
    re.compile(r"failed to select a version for `([\w-]+)`"),
    re.compile(r"searched package name: `([^`]+)`"),
    re.compile(r"required by package `[^`]*`\n.*?`([\w-]+)`"),
)
_HASHES: Final = (
    (re.compile(r"17h[0-9a-f]{16}E"), "E"),
    (re.compile(r"Cs[0-9A-Za-z]{1,12}_"), "C"),
    (re.compile(r"\.llvm\.\d+"), ""),
    (re.compile(r"(?<![0-9a-zA-Z])[0-9a-f]{13,32}(?![0-9a-zA-Z])"), "H"),
    (re.compile(r"anon\.[0-9a-f.]+"), "anon"),
)


# Code and data, defined here.
_KINDS: Final = ("T", "D", "B", "R", "W", "V")
# Numbered by the compiler as it goes; and copies of the standard library's small functions, which a unit has
# or takes from another one.
_LABELS: Final = re.compile(
    r"^(\.L|GCC_except_table|switch\.table)|^_ZN(4core|5alloc|3std)|\$LT\$(core|alloc|std)\.\.|^_R.*(core|alloc|std)"
)


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--first", type=int, default=170, help="how many of the crates")
    parser.add_argument("--skip", type=int, default=0, help="how many of them to pass over")
    parser.add_argument("--crates", default="", help="these instead")
    parser.add_argument("--again", action="store_true", help="also those that have a result")
    parser.add_argument("--table", action="store_true", help="print the table of all results")
    asked = parser.parse_args()
    field = Field(asked.cache.resolve())
    if asked.table:
        print(field.table())
        return 0
    names = asked.crates.split(",") if asked.crates else crates()[asked.skip : asked.first]
    field.fetch(names if asked.crates else None)
    for name in names:
        if asked.again or name not in field.results():
            field.build(name)
    field.end()
    return 0


def crates() -> list[str]:
    """Return the names of the crates, as Debian has them."""
    lines = NAMES.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


class Field:
    """The crates, their sources, and what came of them.

    Args:
        cache: a directory for all of it.
    """

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._archives = cache / "archives"
        self._registry = cache / "root/usr/share/cargo/registry"
        self._results = cache / "results.json"
        config = cache / "cargo/config.toml"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(
            '[source.crates-io]\nreplace-with = "debian"\n'
            f'[source.debian]\ndirectory = "{self._registry}"\n[net]\noffline = true\n',
            encoding="utf-8",
        )
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("CARGO", "RUSTC"))},
            "CARGO_HOME": str(config.parent),
            # With it cargo divides a crate into other units, each with its own copies of small functions.
            "CARGO_INCREMENTAL": "0",
            "RUSTFLAGS": FLAGS,
            "VX_HOME": str(cache / "vx"),
        }

    def fetch(self, wanted: list[str] | None = None) -> None:
        """Have all packages, unpacked, or these and those that they need."""
        part = self._cache / "part"  # of which crates this directory has what they need; absent: of all
        had = set(part.read_text().split()) if part.exists() else None
        if self._registry.is_dir() and (had is None or (wanted is not None and had >= set(wanted))):
            return
        self._archives.mkdir(parents=True, exist_ok=True)
        part.touch()  # a fetch that is killed is begun again
        if wanted is None:
            found = _run(["apt-cache", "search", "--names-only", "^librust-.*-dev$"], self._cache).stdout
            names = [line.split()[0] for line in found.splitlines()]
        else:
            # As on a machine that has none of them.
            ask = [
                "apt-get",
                "-o",
                "Dir::State::status=/dev/null",
                "install",
                "-s",
                "--no-install-recommends",
            ]
            found = _run([*ask, *(f"librust-{one}-dev" for one in wanted)], self._cache).stdout
            names = [line.split()[1] for line in found.splitlines() if line.startswith("Inst librust-")]
        if not names:
            raise SystemExit("vx-field: apt knows no librust packages: Debian's sources are needed")
        _run(["apt-get", "download", *names], self._archives, timeout_s=3600)
        for archive in sorted(self._archives.glob("*.deb")):
            _run(["dpkg", "-x", str(archive), str(self._cache / "root")], self._cache)
        if wanted is None:
            part.unlink(missing_ok=True)
        else:
            part.write_text("\n".join(sorted({*wanted, *(had or ())})))

    def results(self) -> dict[str, dict[str, Any]]:
        """Return what came of each crate so far."""
        try:
            found: dict[str, dict[str, Any]] = json.loads(self._results.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return found

    def build(self, name: str) -> None:
        """Build one with both, and keep the result."""
        result = self._build(name)
        results = self.results()
        results[name] = result
        self._results.write_text(json.dumps(results, indent=1, sort_keys=True), encoding="utf-8")
        print(f"{name}: {result['verdict']} {result.get('reason', '')[:300]}", flush=True)

    def end(self) -> None:
        """End the services."""
        _run(["vx", "kill"], self._cache, self._env)

    def _build(self, name: str) -> dict[str, Any]:
        source = self._source(name)
        if source is None:
            return {"verdict": "no crate", "reason": "the package has no folder in the registry"}
        work = self._cache / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(source, work, symlinks=True)
        for left_over in ("Cargo.lock", ".cargo-checksum.json", ".cargo_vcs_info.json"):
            (work / left_over).unlink(missing_ok=True)
        manifest = tomllib.loads((source / "Cargo.toml").read_text(encoding="utf-8"))
        left_out = self._resolve(work, manifest)
        env = {**self._env, "CARGO_TARGET_DIR": str(self._cache / "target")}
        shutil.rmtree(self._cache / "target/debug/examples", ignore_errors=True)
        by_cargo = _run(["cargo", "build", "--offline"], work, env)
        outputs = self._outputs(work, env) if by_cargo.returncode == 0 else {}
        by_vx = _run(["vx", "build", "--quiet"], work, self._env)
        result: dict[str, Any] = {"crate": source.name, "left_out": left_out}
        if by_vx.returncode != 0 and by_cargo.returncode != 0:
            return {**result, "verdict": "neither", "reason": _reason(by_cargo.stderr)}
        if by_vx.returncode != 0:
            lines = [line for line in by_vx.stderr.splitlines() if line.startswith("vx: ")]
            verdict = "refused" if "not supported by vx" in by_vx.stderr else "failed"
            return {**result, "verdict": verdict, "reason": lines[-1] if lines else by_vx.stderr[-300:]}
        if by_cargo.returncode != 0:
            return {**result, "verdict": "vx only", "reason": _reason(by_cargo.stderr)}
        differences = self._compare(work, outputs)
        (folder,) = work.glob(".vx/build/*/dev")
        result["outputs"] = sorted(one.name for one in folder.iterdir() if one.is_file())
        if differences:
            return {**result, "verdict": "different", "reason": "; ".join(differences)[:500]}
        return {**result, "verdict": "same"}

    def _source(self, name: str) -> Path | None:
        """Return the crate's folder: of a package `x-1` the newest of version 1."""
        listed = self._files_of(f"librust-{name}-dev")
        found = {path.split("/")[4] for path in listed if path.startswith("usr/share/cargo/registry/")} - {""}
        return self._registry / min(found) if found else None

    def _files_of(self, package: str) -> list[str]:
        archives = sorted(self._archives.glob(f"{package}_*.deb"))
        if not archives:
            return []
        told = _run(["dpkg", "-c", str(archives[-1])], self._cache).stdout
        return [line.split(None, 5)[5].removeprefix("./") for line in told.splitlines() if " -> " not in line]

    # --- the manifest -----------------------------------------------------------------------------

    def _resolve(self, work: Path, manifest: dict[str, Any]) -> list[str]:
        """Write the manifest less what is not needed, and less optional dependencies that are not there."""
        for table in _tables(manifest):
            table.pop("dev-dependencies", None)
        for key in ("bench", "test", "example"):
            manifest.pop(key, None)
        manifest["package"] |= {"autobenches": False, "autotests": False, "autoexamples": False}
        manifest.setdefault("workspace", {})
        left_out: list[str] = []
        for _ in range(MOST_LEFT_OUT):
            text = "".join(f"{json.dumps(key)} = {_toml(value)}\n" for key, value in manifest.items())
            (work / "Cargo.toml").write_text(text, encoding="utf-8")
            done = _run(["cargo", "generate-lockfile", "--offline"], work, self._env)
            if done.returncode == 0:
                break
            missing = next((one for one in _named(done.stderr) if _drop(manifest, one)), None)
            if missing is None:
                break
            left_out.append(missing)
        return left_out

    # --- the outputs ------------------------------------------------------------------------------

    def _outputs(self, work: Path, env: dict[str, str]) -> dict[str, Path]:
        """Return what cargo made of the root package, by name, in a place of its own."""
        told = _run(["cargo", "build", "--offline", "--message-format", "json", "-q"], work, env).stdout
        kept = self._cache / "by-cargo"
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir()
        found = {}
        for line in told.splitlines():
            message = json.loads(line)
            if message.get("reason") != "compiler-artifact" or "custom-build" in message["target"]["kind"]:
                continue
            if Path(message["manifest_path"]).parent != work:
                continue
            for file in message["filenames"]:
                path = Path(file)
                if path.suffix == ".rmeta" or not path.exists():
                    continue
                name = re.sub(r"-[0-9a-f]{16}(?=\.|$)", "", path.name)
                found[name] = Path(shutil.copy(path, kept / name))
        return found

    def _compare(self, work: Path, outputs: dict[str, Path]) -> list[str]:
        (folder,) = work.glob(".vx/build/*/dev")
        ours = {one.name: one for one in folder.iterdir() if one.is_file()}
        if ours.keys() != outputs.keys():
            return [f"cargo made {sorted(outputs)}, vx {sorted(ours)}"]
        found = []
        for name, path in outputs.items():
            theirs, own = _symbols(path), _symbols(ours[name])
            if theirs != own:
                more = [*(theirs - own)][:2], [*(own - theirs)][:2]
                found.append(f"{name}: symbols of cargo alone {more[0]}, of vx alone {more[1]}")
            if path.suffix == "" and os.access(path, os.X_OK):
                found += self._behave(name, path, ours[name])
        return found

    def _behave(self, name: str, theirs: Path, own: Path) -> list[str]:
        nowhere = self._cache / "nowhere"
        found = []
        for words in (["--version"], ["--help"]):
            answers = []
            for program in (theirs, own):
                shutil.rmtree(nowhere, ignore_errors=True)
                nowhere.mkdir()
                done = _run([str(program), *words], nowhere, {"HOME": str(nowhere)}, RUN_TIMEOUT_S)
                text = (done.stdout + done.stderr).replace(str(program), name)
                text = re.sub(r"thread '(\S+)' \(\d+\)", r"thread '\1'", text)
                answers.append((done.returncode, _without_places(text)))
            if answers[0] != answers[1]:
                found.append(f"{name} {words[0]} answers otherwise: {answers[0]!r:.150} {answers[1]!r:.150}")
        return found

    # --- the table --------------------------------------------------------------------------------

    def table(self) -> str:
        """Return the results as a page has them."""
        results = self.results()
        drawn = [one for one in crates() if one in results]
        counts = Counter(results[one]["verdict"] for one in drawn)
        lines = ["| result | crates |", "| --- | --- |"]
        lines += [f"| {MEANING[verdict]} | {counts[verdict]} |" for verdict in MEANING if counts[verdict]]
        lines += [f"| together | {len(drawn)} |", "", "| crate | result | reason |", "| --- | --- | --- |"]
        for one in drawn:
            result = results[one]
            if result["verdict"] != "same":
                reason = " ".join(result.get("reason", "").replace("|", "\\|").split())
                reason = reason.replace(str(self._cache), "CACHE")
                lines.append(f"| {result.get('crate', one)} | {result['verdict']} | {reason[:240]} |")
        return "\n".join(lines)


MEANING: Final = {
    "same": "built by both, the same",
    "different": "built by both, different",
    "refused": "refused by vx, by name",
    "failed": "failed with vx alone",
    "vx only": "failed with cargo alone",
    "neither": "failed with both: not for this compiler, or a library of the system is missing",
    "no crate": "no crate in the package",
}


def _run(
    words: list[str], where: Path, env: dict[str, str] | None = None, timeout_s: float = BUILD_TIMEOUT_S
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            words,
            cwd=where,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 124, "", "took too long")


def _tables(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [manifest, *manifest.get("target", {}).values()]


def _named(said: str) -> list[str]:
    return [name for pattern in _MISSING for name in pattern.findall(said)]


def _drop(manifest: dict[str, Any], package: str) -> bool:
    """Remove an optional dependency, and the features' words of it; whether there was one."""
    gone = set()
    for table in _tables(manifest):
        for kind in ("dependencies", "build-dependencies"):
            for name, given in list(table.get(kind, {}).items()):
                called = given.get("package", name) if isinstance(given, dict) else name
                if package in (called, name) and isinstance(given, dict) and given.get("optional"):
                    del table[kind][name]
                    gone.add(name)
    features = manifest.get("features", {})
    for name, words in list(features.items()):
        features[name] = [
            word for word in words if re.split(r"[?/]", word.removeprefix("dep:"))[0] not in gone
        ]
    for name in gone:
        if any(name in words for words in features.values()):
            features.setdefault(name, [])
    return bool(gone)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def _symbols(path: Path) -> set[str]:
    """Return the symbols that a file defines, less hashes.

    A set, and local ones, too: how many copies of a small function there are, and whether another unit of the
    crate may call it, depends on how the crate is divided into units, which follows from its hash.
    """
    told = subprocess.run(
        ["nm", "-P", "--defined-only", str(path)], capture_output=True, text=True, check=False
    ).stdout
    found = set()
    for line in told.splitlines():
        words = line.split()
        if len(words) < 2 or words[1].upper() not in _KINDS or _LABELS.search(words[0]):
            continue
        name = words[0]
        for pattern, to in _HASHES:
            name = pattern.sub(to, name)
        found.add(name)
    return found


def _without_places(text: str) -> str:
    return re.sub(r"(/[^\s:'\"]+)+", "PATH", text)


def _reason(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error")]
    return "; ".join((errors or lines)[:3])[:400]


if __name__ == "__main__":
    sys.exit(main())
