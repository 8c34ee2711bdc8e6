"""process-compose.yaml: processes, probes and dependencies.

Owns what its keys mean in a home.  Source: https://f1bonacc1.github.io/process-compose/.  The file is read
by PyYAML, of the extra `import`.
"""

from __future__ import annotations

import re
import signal
from typing import Any, Final

from daemonry.home.imports.home_text import Draft, ImportInvalid, as_table, shell, texts

_RESTART: Final = {"always": "always", "on_failure": "on-failure", "no": "never", "exit_on_failure": "never"}
_KNOWN: Final = (
    *("command", "entrypoint", "working_dir", "environment", "depends_on", "availability", "readiness_probe"),
    *("liveness_probe", "ready_log_line", "shutdown", "replicas", "namespace", "disabled", "schedule"),
    *("description",),
)


def read(text: str) -> Draft:
    """Return the services of a process-compose.yaml.

    Raises:
        ImportInvalid: it cannot be read, or has no processes.
    """
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError:
        raise ImportInvalid('YAML needs: pip install "daemonry[import]"') from None
    try:
        form = as_table(yaml.safe_load(text), "the file")
    except (yaml.YAMLError, RecursionError) as error:
        raise ImportInvalid(" ".join(str(error).split())) from None
    processes = as_table(form.get("processes") or {}, "processes")
    if not processes:
        raise ImportInvalid("there are no processes in it")
    draft = Draft()
    draft.unknown("the file", form, ("version", "processes", "environment"))
    if form.get("environment"):
        draft.environment = texts(form["environment"], "environment")
    names: dict[str, str] = {}
    for name in processes:
        names[name] = draft.name(name)
        draft.services[names[name]] = {}
    for name, given in processes.items():
        keys = as_table(given, name)
        if keys.get("disabled"):
            draft.note(name, "disabled", "is true: it is left out")
            del draft.services[names[name]]
        else:
            draft.services[names[name]].update(_process(draft, name, keys, names))
    for table in draft.services.values():
        if "needs" in table:
            table["needs"] = [one for one in table["needs"] if one in draft.services]
    return draft


def _process(draft: Draft, name: str, keys: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    draft.unknown(name, keys, _KNOWN)
    if keys.get("entrypoint"):
        table: dict[str, Any] = {"command": [str(word) for word in keys["entrypoint"]]}
    elif keys.get("command"):
        table = {"command": shell(str(keys["command"]))}
    else:
        raise ImportInvalid(f"{name}: it has no command")
    if keys.get("working_dir"):
        table["directory"] = str(keys["working_dir"])
    if keys.get("environment"):
        table["environment"] = texts(keys["environment"], f"{name}: environment")
    if keys.get("namespace"):
        table["groups"] = [str(keys["namespace"])]
    if keys.get("replicas", 1) != 1:
        table["replicas"] = keys["replicas"]
    _needs(draft, name, keys, names, table)
    _availability(draft, name, as_table(keys.get("availability") or {}, f"{name}: availability"), table)
    _shutdown(draft, name, as_table(keys.get("shutdown") or {}, f"{name}: shutdown"), table)
    _probes(draft, name, keys, table)
    _schedule(draft, name, keys, table)
    return table


def _needs(
    draft: Draft, name: str, keys: dict[str, Any], names: dict[str, str], table: dict[str, Any]
) -> None:
    for needed, how in as_table(keys.get("depends_on") or {}, f"{name}: depends_on").items():
        if needed not in names:
            draft.note(name, f"depends_on {needed}", "is not a process of this file")
            continue
        table.setdefault("needs", []).append(names[needed])
        condition = how.get("condition", "process_started") if isinstance(how, dict) else ""
        if condition not in ("process_healthy", "process_log_ready"):
            draft.note(name, f"depends_on {needed}: {condition}", "waits until it is ready, or done, here")


def _probes(draft: Draft, name: str, keys: dict[str, Any], table: dict[str, Any]) -> None:
    if keys.get("readiness_probe"):
        table["ready"] = _probe(draft, f"{name}: readiness_probe", keys["readiness_probe"])
        table["ready"].pop("every", None)
        table["ready"].pop("failures", None)
    elif keys.get("ready_log_line"):
        table["ready"] = {"output": re.escape(str(keys["ready_log_line"]))}
    if keys.get("liveness_probe"):
        table["alive"] = _probe(draft, f"{name}: liveness_probe", keys["liveness_probe"])


def _schedule(draft: Draft, name: str, keys: dict[str, Any], table: dict[str, Any]) -> None:
    schedule = as_table(keys.get("schedule") or {}, f"{name}: schedule")
    draft.unknown(f"{name}: schedule", schedule, ("cron", "interval"))
    if "cron" in schedule:
        table["schedule"] = {"cron": str(schedule["cron"])}
    elif "interval" in schedule:
        table["schedule"] = {"every": str(schedule["interval"])}


def _availability(draft: Draft, name: str, keys: dict[str, Any], table: dict[str, Any]) -> None:
    draft.unknown(f"{name}: availability", keys, ("restart", "backoff_seconds", "max_restarts"))
    # YAML 1.1 reads a bare `no` as false.
    restart = "no" if keys.get("restart") in (None, False) else str(keys["restart"])
    if restart == "exit_on_failure":
        draft.note(f"{name}: availability", "exit_on_failure", "ends no other service here")
    table["restart"] = _RESTART.get(restart, "never")
    if keys.get("backoff_seconds"):
        table["restart_delay"] = f"{keys['backoff_seconds']}s"
    if keys.get("max_restarts"):
        table["restarts_max"] = keys["max_restarts"]


def _shutdown(draft: Draft, name: str, keys: dict[str, Any], table: dict[str, Any]) -> None:
    draft.unknown(f"{name}: shutdown", keys, ("signal", "timeout_seconds"))
    if keys.get("timeout_seconds"):
        table["stop_timeout"] = f"{keys['timeout_seconds']}s"
    if keys.get("signal"):
        try:
            table["stop_signal"] = signal.Signals(int(keys["signal"])).name.removeprefix("SIG")
        except ValueError:
            draft.note(f"{name}: shutdown", "signal", f"names no signal: {keys['signal']}")


def _probe(draft: Draft, where: str, given: Any) -> dict[str, Any]:
    keys = as_table(given, where)
    known = ("exec", "http_get", "period_seconds", "timeout_seconds", "failure_threshold")
    draft.unknown(where, keys, known)
    found: dict[str, Any] = {}
    if "exec" in keys:
        found["command"] = shell(str(as_table(keys["exec"], where).get("command", "true")))
    elif "http_get" in keys:
        http = as_table(keys["http_get"], where)
        if str(http.get("scheme", "http")).lower() != "http":
            draft.note(where, "scheme", "is https: http is asked here")
        port = f":{http['port']}" if http.get("port") else ""
        found["http"] = f"http://{http.get('host', '127.0.0.1')}{port}{http.get('path', '/')}"
    for key, target in (("period_seconds", "every"), ("timeout_seconds", "timeout")):
        if keys.get(key):
            found[target] = f"{keys[key]}s"
    if keys.get("failure_threshold"):
        found["failures"] = keys["failure_threshold"]
    return found
