"""A result that is more than text, for people: images saved and named, links, tables.

Owns the forms of content that MCP has.  Output to a terminal is made safe for it.
"""

from __future__ import annotations

import base64
import binascii
import json
import mimetypes
import os
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from daemonry.cli import terminal
from mcp_cli.output import tables

# What mimetypes gives is the system's: on some, image/jpeg is .jpe.
_ENDINGS = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "audio/wav": ".wav",
    "audio/mpeg": ".mp3",
    "text/plain": ".txt",
}


def show(text: str, save_dir: str | None, stem: str, *, is_error: bool = False) -> None:
    """Print a tool's result.

    Args:
        text: its JSON, as the server sent it.
        save_dir: where images and other files are saved, or None for a directory of their own.
        stem: the name of files that are saved.
        is_error: whether it goes to standard error.
    """
    stream = sys.stderr if is_error else sys.stdout
    value = json.loads(text)
    blocks = value.get("content") if isinstance(value, dict) else None
    if not isinstance(blocks, list):
        _put(_structured(value, stream), stream)
        return
    for number, block in enumerate(blocks):
        _put(_block(block, save_dir, stem if len(blocks) == 1 else f"{stem}-{number + 1}", stream), stream)
    if not blocks and value.get("structuredContent") is not None:
        _put(_structured(value["structuredContent"], stream), stream)
    elif not blocks and is_error:
        _put(f"{stem}: failed, without a word", stream)


def show_contents(text: str, save_dir: str | None, stem: str) -> None:
    """Print what reading a resource gave."""
    contents = json.loads(text).get("contents", [])
    if len(contents) == 1 and "blob" in contents[0] and not sys.stdout.isatty() and save_dir is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(_decoded(contents[0]["blob"]))
        return
    for number, one in enumerate(contents):
        _put(
            _resource(one, save_dir, stem if len(contents) == 1 else f"{stem}-{number + 1}", sys.stdout),
            sys.stdout,
        )


def show_messages(text: str, save_dir: str | None, stem: str) -> None:
    """Print what getting a prompt gave."""
    value = json.loads(text)
    for number, message in enumerate(value.get("messages", [])):
        role = str(message.get("role", ""))
        said = _block(message.get("content"), save_dir, f"{stem}-{number + 1}", sys.stdout)
        _put(f"{role}: {said}", sys.stdout)


def _put(text: str, stream: Any) -> None:
    terminal.write(terminal.end_of_line(terminal.for_stream(text, stream)), stream)


def _block(block: Any, save_dir: str | None, stem: str, stream: Any) -> str:
    if not isinstance(block, dict):
        return json.dumps(block, ensure_ascii=False)
    kind = block.get("type")
    if kind == "text":
        return _text(str(block.get("text", "")), stream)
    if kind in ("image", "audio"):
        return _saved(block.get("data", ""), str(block.get("mimeType", "")), save_dir, stem, str(kind))
    if kind == "resource_link":
        return _link(block)
    if kind == "resource" and isinstance(block.get("resource"), dict):
        return _resource(block["resource"], save_dir, stem, stream)
    return json.dumps(block, ensure_ascii=False)


def _text(text: str, stream: Any) -> str:
    if not stream.isatty() or text[:1] not in ("[", "{"):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return _structured(value, stream)


def _structured(value: Any, stream: Any) -> str:
    rows = tables.of_records(value) if stream.isatty() else None
    if rows is None and isinstance(value, dict) and len(value) == 1:
        (only,) = value.values()
        rows = tables.of_records(only) if stream.isatty() else None
    return "\n".join(rows) if rows else json.dumps(value, ensure_ascii=False, indent=2)


def _link(block: Mapping[str, Any]) -> str:
    said = f"{block.get('name') or block.get('title') or 'resource'}: {block.get('uri', '')}"
    further = [str(block[key]) for key in ("mimeType", "description") if block.get(key)]
    return f"{said} ({', '.join(further)})" if further else said


def _resource(one: Mapping[str, Any], save_dir: str | None, stem: str, stream: Any) -> str:
    if "blob" in one:
        saved = _saved(one["blob"], str(one.get("mimeType", "")), save_dir, stem, "resource")
        return f"{one.get('uri', '')}: {saved}"
    return _text(str(one.get("text", "")), stream)


def _saved(data: Any, mime: str, save_dir: str | None, stem: str, kind: str) -> str:
    """Save what base64 text holds and say where."""
    content = _decoded(data)
    if not content:
        return f"[{kind} {mime}, which holds nothing that can be read]"
    ending = _ENDINGS.get(mime) or mimetypes.guess_extension(mime) or ".bin"
    path = _new_file(_directory(save_dir), _plain_name(stem), ending, content)
    return f"[{kind} {mime}, {len(content)} bytes, saved as {path}]"


def _decoded(data: Any) -> bytes:
    try:
        return base64.b64decode(str(data), validate=False)
    except (binascii.Error, ValueError):
        return b""


def _directory(save_dir: str | None) -> str:
    if save_dir is not None:
        os.makedirs(save_dir, exist_ok=True)
        return os.path.abspath(save_dir)
    return tempfile.mkdtemp(prefix="mcp-cli-")


def _plain_name(stem: str) -> str:
    """Return a name that names no other directory and hides nothing: the server chose a part of it."""
    plain = "".join(char if char.isascii() and (char.isalnum() or char in "-_.") else "_" for char in stem)
    return plain.lstrip(".")[:80] or "result"


def _new_file(directory: str, stem: str, ending: str, content: bytes) -> str:
    """Write a file that was not there before, and return its path."""
    for number in range(1000):
        path = os.path.join(directory, f"{stem}{f'-{number}' if number else ''}{ending}")
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            continue
        with open(fd, "wb") as file:
            file.write(content)
        return path
    raise FileExistsError(17, f"a thousand files are called {stem}{ending} already", directory)
