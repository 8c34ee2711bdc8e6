"""ecosystem.config.json of pm2: apps.

Owns what its keys mean in a home.  Source: https://pm2.keymetrics.io/docs/usage/application-declaration/.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from typing import Any, Final

from daemonry.home.imports.home_text import Draft, ImportInvalid, as_table, texts

_INTERPRETERS: Final = {".js": "node", ".cjs": "node", ".mjs": "node", ".py": "python3", ".sh": "bash"}
_KNOWN: Final = (
    *("name", "script", "args", "cwd", "env", "instances", "autorestart", "max_restarts", "restart_delay"),
    *(
        "max_memory_restart",
        "watch",
        "kill_timeout",
        "interpreter",
        "interpreter_args",
        "node_args",
        "exec_mode",
    ),
    *("cron_restart", "listen_timeout", "wait_ready", "namespace", "merge_logs", "time"),
    "exp_backoff_restart_delay",
)
# Programs that a script without a folder and an ending most often names; pm2 finds them in the PATH.
_PROGRAMS: Final = ("bun", "deno", "npm", "npx", "pnpm", "yarn")


def read(text: str) -> Draft:
    """Return the services of an ecosystem.config.json.

    Raises:
        ImportInvalid: it cannot be read, or has no apps.
    """
    try:
        form = json.loads(text)
    except (ValueError, RecursionError) as error:
        how = "node -p 'JSON.stringify(require(\"./ecosystem.config.js\"))'"
        reason = f"a .js file is a program: {how} makes JSON of it"
        raise ImportInvalid(f"is not JSON ({error}); {reason}") from None
    apps = form.get("apps") if isinstance(form, dict) else form
    if not isinstance(apps, list) or not apps:
        raise ImportInvalid("there are no apps in it")
    draft = Draft()
    if isinstance(form, dict):
        draft.unknown("the file", form, ("apps",))
    for number, given in enumerate(apps, 1):
        keys = as_table(given, f"app {number}")
        wanted = str(keys.get("name") or os.path.splitext(os.path.basename(str(keys.get("script", ""))))[0])
        name = draft.name(wanted)
        draft.services[name] = _app(draft, wanted, keys)
    return draft


def _app(draft: Draft, name: str, keys: dict[str, Any]) -> dict[str, Any]:
    if not keys.get("script"):
        raise ImportInvalid(f"{name}: it has no script")
    draft.unknown(name, keys, _KNOWN)
    table: dict[str, Any] = {"command": _command(keys)}
    if keys.get("cwd"):
        table["directory"] = str(keys["cwd"])
    if keys.get("env"):
        table["environment"] = texts(keys["env"], f"{name}: env")
    if keys.get("namespace"):
        table["groups"] = [str(keys["namespace"])]
    _instances(draft, name, keys, table)
    _restarts(draft, name, keys, table)
    return table


def _instances(draft: Draft, name: str, keys: dict[str, Any], table: dict[str, Any]) -> None:
    instances = keys.get("instances", 1)
    if isinstance(instances, int) and instances > 1:
        table["replicas"] = instances
    elif instances not in (0, 1, "1"):
        draft.note(name, "instances", f"is {instances!r}: say a number with `replicas`")
    if keys.get("exec_mode") in ("cluster", "cluster_mode"):
        draft.note(name, "exec_mode", "is cluster: replicas share a port only with SO_REUSEPORT")


def _restarts(draft: Draft, name: str, keys: dict[str, Any], table: dict[str, Any]) -> None:
    table["restart"] = "never" if keys.get("autorestart") is False else "always"
    if "max_restarts" in keys:
        table["restarts_max"] = keys["max_restarts"]
    for key, target in (
        ("exp_backoff_restart_delay", "restart_delay"),  # a home's delay grows too
        ("restart_delay", "restart_delay"),
        ("kill_timeout", "stop_timeout"),
    ):
        if keys.get(key):
            table[target] = f"{keys[key]}ms"
    table["stop_signal"] = "INT"  # pm2's own default
    if keys.get("max_memory_restart"):
        table["memory_max"] = keys["max_memory_restart"]
    watch = keys.get("watch")
    if watch:
        table["watch"] = [str(one) for one in watch] if isinstance(watch, list) else ["*"]
    if keys.get("cron_restart"):
        draft.note(name, "cron_restart", "restarts by the clock: a `schedule` runs it by the clock instead")
    waits = next((key for key in ("wait_ready", "listen_timeout") if keys.get(key)), "")
    if waits:
        draft.note(name, waits, "waits for process.send('ready'): see `ready`")


def _command(keys: dict[str, Any]) -> list[str]:
    script = str(keys["script"])
    usual = _INTERPRETERS.get(os.path.splitext(script)[1], "node" if keys.get("node_args") else "none")
    interpreter = str(keys.get("interpreter") or usual)
    words = _words(keys.get("args") or [])
    if interpreter != "none":
        return [
            interpreter,
            *_words(keys.get("interpreter_args") or keys.get("node_args") or []),
            script,
            *words,
        ]
    in_path = "/" in script or script in _PROGRAMS or shutil.which(script) is not None
    return [script if in_path else f"./{script}", *words]


def _words(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else shlex.split(str(value))
