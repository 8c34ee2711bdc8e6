"""How a daemon is started: the recipe, remembered so that it can be started again by its name.

Owns the recipe and its file beside the record.  Starting a process from it is `launch.start`.
"""

from __future__ import annotations

from daemonry import strict_json
from daemonry.errors import BadFrame, StartFailed, TargetInvalid
from daemonry.limits import MAX_STATE_FILE_BYTES
from daemonry.process.atomic_file import write_atomically
from daemonry.process.program import launching as program
from daemonry.process.regular_file import read_regular
from daemonry.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from daemonry.daemon.definition import Daemon
    from daemonry.process.place import Place


class Recipe(Value):
    """How a daemon is started; remembered, so that it can be started again by its name.

    Attributes:
        arguments: the words after `run` and the target: options.
        environment: the variables that it takes of its starter's, in addition to the usual ones.
        import_path: a directory that modules are looked for in, or "".
        python: the interpreter.
        target: `module:attribute` or `/file.py:attribute`; `__main__:attribute` in a frozen program.
        words: those behind the interpreter by which it is `daemonry` (see `process.program.launching`).
    """

    __slots__ = ("arguments", "import_path", "python", "target", "environment", "words")  # noqa: RUF023  # as the arguments
    arguments: tuple[str, ...]
    environment: tuple[str, ...]
    import_path: str
    python: str
    target: str
    words: tuple[str, ...]

    def __init__(
        self,
        arguments: tuple[str, ...],
        import_path: str,
        python: str,
        target: str,
        environment: tuple[str, ...] = (),
        words: tuple[str, ...] = program.USUAL,
    ) -> None:
        self._set(
            arguments=arguments,
            import_path=import_path,
            python=python,
            target=target,
            environment=environment,
            words=words,
        )

    def with_arguments(self, arguments: tuple[str, ...]) -> Recipe:
        """Return the same with other options."""
        return Recipe(arguments, self.import_path, self.python, self.target, self.environment, self.words)


def recipe_of(daemon: Daemon, arguments: tuple[str, ...] = (), import_path: str | None = None) -> Recipe:
    """Return how a daemon that this process has imported is started.

    Args:
        daemon: the daemon.
        arguments: options.
        import_path: a directory that modules are looked for in; worked out if it is not given.

    Raises:
        TargetInvalid: another process could not find it.
    """
    if import_path is None:
        import_path = "" if program.is_frozen() else daemon.import_path()
    python, words = program.executable(), program.words()
    return Recipe(arguments, import_path, python, daemon.target(), daemon.environment, words)


def remember_if_new(place: Place, recipe: Recipe) -> None:
    """Remember how a daemon is started, unless the same program is remembered, with whatever options.

    Raises:
        StartFailed: it could not be written.
    """
    last = remembered(place)
    if last is None or last.target != recipe.target:
        remember(place, recipe)


def remember(place: Place, recipe: Recipe) -> None:
    """Write down how a daemon is started.

    Raises:
        StartFailed: it could not be written.
    """
    fields = {name: getattr(recipe, name) for name in recipe.__slots__}
    try:
        write_atomically(place.start_path, strict_json.encode_names(fields).encode(), durable=False)
    except OSError as error:
        told = f"{place.start_path}: cannot be written: {error.strerror}"
        raise StartFailed(place.name, "directories", told) from error


def needed(place: Place) -> Recipe:
    """Return how the daemon was started last.

    Raises:
        TargetInvalid: that is not known.
    """
    recipe = remembered(place)
    if recipe is None:
        reason = "no daemon of this name was started here: give its module or file"
        raise TargetInvalid(place.name, reason)
    return recipe


def remembered(place: Place) -> Recipe | None:
    """Return how the daemon was started last, or None if that is not known."""
    try:
        data = read_regular(place.start_path, MAX_STATE_FILE_BYTES)
        fields: dict[str, Any] = strict_json.decode_object(data.decode(), with_names=True)
        return Recipe(
            tuple(fields["arguments"]),
            fields["import_path"],
            fields["python"],
            fields["target"],
            tuple(fields.get("environment", ())),
            tuple(fields.get("words", program.USUAL)),
        )
    except (OSError, KeyError, TypeError, BadFrame, UnicodeDecodeError):
        return None
