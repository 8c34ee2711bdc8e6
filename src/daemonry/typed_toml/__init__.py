"""TOML files, and every error in one told as `FILE:LINE:COLUMN: key: reason`.

For programs with a configuration of their own form.  `daemonry.load_config` makes a typed value of a
file; these are for programs that read the tables themselves:

    parse           TOML text (or bytes) to a ConfigText: its values, and the errors about them
    read            the same of a file
    ConfigText      `values`, `error(("servers", 0, "url"), "is empty")`, `unknown(...)`
    error_in        an error about a file that was read earlier
    decode          a file's bytes to text, in any form
    Position, KeyPath, dotted
                    a place in a text; the path to a value; that path as people write it
    typed.convert, typed.explain
                    a typed value of a ConfigText; what msgspec says of tables, with the path it means

Files may be hostile: their size, their depth and the length of their keys are bounded, and a message
is one printable line whatever they hold.  A place is looked for only when there is an error.

Owns no configuration.  A daemon's is `daemonry.daemon.config`, a home's `daemonry.home.home_toml.home_file`.
"""

from daemonry.typed_toml.positions import KeyPath, Position, dotted
from daemonry.typed_toml.source import ConfigText, decode, error_in, parse, read

__all__ = ["ConfigText", "KeyPath", "Position", "decode", "dotted", "error_in", "parse", "read"]
