"""A formatter kept warm: `fmtd.py fmt FILE...` formats as black does, without its start each time.

It needs black, in the daemon alone.  The command calls by names, which is what starts fastest; the daemon
ends when nobody has needed it for ten minutes.
"""

from __future__ import annotations

import os
import sys

import daemonry
from daemonry.cli import kit

daemon = daemonry.Daemon("fmtd", version="1.0", idle_timeout_s=600.0)


@daemon.setup
def warm_up(run: daemonry.Run) -> None:
    """Import what takes long, before the first call."""
    import black

    class NotPython(daemonry.CallError):
        """The source cannot be parsed."""

        reason: str

    class Formatter(daemonry.Interface, name="org.example.formatter", errors=(NotPython,)):
        """Formats Python."""

        @daemonry.method(reads=True)
        def format(self, source: str, line_length: int = 88) -> str | None:
            """Return a source formatted; null if it is so already."""
            try:
                return black.format_file_contents(
                    source, fast=False, mode=black.Mode(line_length=line_length)
                )
            except black.NothingChanged:
                return None
            except black.InvalidInput as error:
                raise NotPython(reason=str(error)) from None

    daemon.serve(Formatter())


def fmt(paths: list[str]) -> int:
    with daemonry.ensure(daemon) as client:
        for path in paths:
            with open(path, encoding="utf-8") as file:
                source = file.read()
            formatted = client.call("org.example.formatter.Format", {"source": source})["result"]
            if formatted is not None:
                mode = os.stat(path).st_mode & 0o777
                daemonry.write_atomically(os.path.realpath(path), formatted.encode(), mode=mode)
                kit.say(f"reformatted {path}")
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["fmt"]:
        kit.leave(kit.guarded(lambda: fmt(sys.argv[2:])))
    daemon.main()
