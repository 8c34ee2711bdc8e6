"""`daemonry jobs DAEMON ...`, and a program's own `PROGRAM jobs ...`: its jobs, from a shell.

    jobs submit TASK KEY=VALUE KEY:=JSON     prints the number of the job
    jobs list | show JOB | wait JOB | cancel JOB | retry JOB | log JOB

Owns reading the words and printing jobs.  It calls org.daemonry.Jobs by name and loads
no part of `jobs` but the sentences of its errors.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

from daemonry import errors, strict_json
from daemonry.cli import exit_codes, output
from daemonry.cli.target import connected
from daemonry.clock import Deadline
from daemonry.daemon.instance import Instance
from daemonry.jobs import refusal_text
from daemonry.limits import REQUEST_TIMEOUT_S
from daemonry.service.client.blocking import Client
from daemonry.spelling import did_you_mean
from daemonry.terminal_text import printable

_JOBS: Final = "org.daemonry.Jobs"
_GOOD: Final = "succeeded"
_ENDED: Final = (_GOOD, "failed", "canceled", "lost")
# How long a daemon may be away that is waited at: an upgrade, a restart.
_AWAY_S: Final = 10.0
_AWAY_PAUSE_S: Final = 0.1


def jobs(options: argparse.Namespace, instance: Instance) -> int:
    """Do what `jobs` is asked for and return its exit code; `wait` gives 1 for a job that did not succeed."""
    limit_s = options.timeout or REQUEST_TIMEOUT_S
    if options.action in ("wait", "log"):
        job = _number(options)
        return _wait(options, instance, job) if options.action == "wait" else _log(options, instance, job)
    with connected(instance, limit_s) as client:

        def ask(method: str, parameters: dict[str, Any]) -> dict[str, Any]:
            try:
                return client.call(f"{_JOBS}.{method}", parameters, timeout_s=limit_s)
            except errors.CallFailed as error:
                raise _refused(error, instance) from None

        if options.action == "submit":
            task, parameters = _submitted(options.words)
            job = ask("Submit", {"task": task, "parameters": parameters, "key": options.key or ""})["result"]
            _print_number(job, as_json=options.json)
        elif options.action == "list":
            _no_words(options)
            limit = int(options.tail) if options.tail is not None else 100
            found = ask("List", {"state": options.state or "", "limit": limit})["result"]
            _print_list(found, as_json=options.json)
        else:
            _print_job(ask(options.action.capitalize(), {"job": _number(options)}), as_json=options.json)
    return exit_codes.DONE


def _number(options: argparse.Namespace) -> int:
    if len(options.words) != 1 or not options.words[0].isascii() or not options.words[0].isdigit():
        raise errors.ArgumentInvalid(options.action, "expected the number of one job, as `jobs list` has it")
    return int(options.words[0][:18])


def _no_words(options: argparse.Namespace) -> None:
    if options.words:
        raise errors.ArgumentInvalid(options.words[0], "`list` takes options alone, such as --state")


def _submitted(words: list[str]) -> tuple[str, dict[str, Any]]:
    if not words:
        raise errors.ArgumentInvalid("submit", "expected the name of a task")
    parameters: dict[str, Any] = {}
    for word in words[1:]:
        name, equals, text = word.partition("=")
        if not equals or not name.removesuffix(":"):
            raise errors.ArgumentInvalid(word, "a parameter is KEY=VALUE, a text, or KEY:=JSON")
        parameters[name.removesuffix(":")] = _json(name, text) if name.endswith(":") else text
    return words[0], parameters


def _json(name: str, text: str) -> Any:
    try:
        return strict_json.decode(text)
    except errors.BadFrame:
        raise errors.ArgumentInvalid(name, f"expected JSON, got {printable(text, 40)!r}") from None


class _RefusedByName(errors.CallFailed):
    """A refusal about a job, with its sentence."""

    def _sentence(self) -> str:
        return f"{self.error}: {refusal_text.sentence(self.error.rpartition('.')[2], self.parameters)}"


def _refused(error: errors.CallFailed, instance: Instance) -> errors.DaemonryError:
    """Return a refusal as the error of the word that it is about, or with its sentence."""
    if isinstance(error, errors.InterfaceNotFound):
        return errors.ArgumentInvalid("jobs", f"{instance.name} has no jobs")
    interface, _, name = error.error.rpartition(".")
    known, task = error.parameters.get("known"), str(error.parameters.get("task"))
    if interface != _JOBS or not refusal_text.sentence(name, error.parameters):
        return error
    if name == "NoSuchTask" and isinstance(known, list):
        hint = did_you_mean(task, map(str, known), "the tasks are")
        return errors.ArgumentInvalid(task, f"is not a task: {hint}")
    if name == "UnfitParameters":
        return errors.ArgumentInvalid(task, str(error.parameters.get("reason")))
    return _RefusedByName(error.error, error.parameters)


# --- waiting --------------------------------------------------------------------------------------


def _wait(options: argparse.Namespace, instance: Instance, job: int) -> int:
    info: dict[str, Any] = {}
    for info in _changes(instance, job, options.timeout):
        if options.json:
            output.say_json(info)
        elif info["state"] not in _ENDED:
            output.say(_line(info))
        sys.stdout.flush()
    if not options.json:
        _print_job(info, as_json=False)
    return exit_codes.DONE if info["state"] == _GOOD else exit_codes.FAILED


def _changes(instance: Instance, job: int, timeout_s: float | None) -> Iterator[dict[str, Any]]:
    """Yield a job whenever it changes until it has ended, also over an upgrade or a restart of its daemon."""
    deadline, away = Deadline(timeout_s), Deadline(_AWAY_S)
    late = errors.DeadlineExceeded("end", timeout_s or 0.0, "maybe", f"job {job} of {instance.name}")
    while True:
        try:
            with connected(instance, REQUEST_TIMEOUT_S) as client:
                for info in _stream(client, instance, "Wait", {"job": job}, deadline):
                    yield info
                    if info["state"] in _ENDED:
                        return
                    if deadline.expired:
                        raise late
                    away = Deadline(_AWAY_S)
        except errors.DeadlineExceeded:
            if timeout_s is None:  # the daemon does not answer, and nobody limited how long the job may take
                raise
            raise late from None
        except (errors.ConnectionLost, errors.ConnectError, errors.Draining, errors.NotRunning):
            if away.expired:
                raise
        if deadline.expired:
            raise late
        time.sleep(_AWAY_PAUSE_S)


def _stream(
    client: Client, instance: Instance, method: str, parameters: dict[str, Any], deadline: Deadline
) -> Iterator[dict[str, Any]]:
    try:
        yield from client.stream(f"{_JOBS}.{method}", parameters, idle_s=deadline.remaining_s())
    except errors.CallFailed as error:
        raise _refused(error, instance) from None


def _log(options: argparse.Namespace, instance: Instance, job: int) -> int:
    output.end_with_the_reader()
    with connected(instance, REQUEST_TIMEOUT_S) as client:
        parameters = {"job": job, "follow": bool(options.follow)}
        for fields in _stream(client, instance, "Log", parameters, Deadline(options.timeout)):
            if options.json:
                output.say_json({"line": fields["result"]})
            else:
                output.say(printable(fields["result"]))
            sys.stdout.flush()
    return exit_codes.DONE


# --- printing -------------------------------------------------------------------------------------


def _print_number(job: int, *, as_json: bool) -> None:
    if as_json:
        output.say_json({"job": job})
    else:
        output.say(str(job))


def _print_list(found: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        output.say_json(found)
        return
    for info in found:
        output.say(_line(info))


def _line(info: dict[str, Any]) -> str:
    progress = f"{info['progress'] * 100:.0f}%" if info["state"] == "running" else ""
    said = info["error"] or info["message"]
    words = (str(info["job"]), info["state"], info["task"], progress, said)
    return "  ".join(printable(word.partition("\n")[0], 200) for word in words if word)


def _print_job(info: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.say_json(info)
        return
    for name, value in info.items():
        if name.endswith("_s"):
            if value:
                moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
                output.say(f"{name.removesuffix('_s')}: {moment}")
        elif value not in ("", None, {}, 0.0):
            output.say(f"{name}: {printable(value if isinstance(value, str) else strict_json.encode(value))}")
