"""The screen of `top`, by textual: a table of lines, the log of the chosen one, and keys.

Owns the widgets.  The texts are `lines`'s, looking is `watch`'s, the command behind a key is `deeds`'s; it
runs beside the screen, which shows the last line that it prints.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Label, RichLog, Static

from daemonry.cli.top.deeds import DEEDS, Deed, NotPossible, command, question
from daemonry.cli.top.lines import COLUMNS
from daemonry.cli.top.log_view import LogTail
from daemonry.cli.top.watch import Watch
from daemonry.limits import FOLLOW_POLL_S
from daemonry.terminal_text import printable

if TYPE_CHECKING:
    from daemonry.cli.top.lines import ServiceLine
    from daemonry.cli.top.watch import Seen

# The rest between two looks.
_REST_S: Final = 1.0
_LOG_LINES: Final = 2000
_STYLES: Final = {
    **dict.fromkeys(("running", "ready", "serving", "up", "done", "idle"), "green"),
    **dict.fromkeys(("failed", "unhealthy", "crashed", "supervisor gone", "no answer", "busy"), "bold red"),
    "stopped": "dim",
}
_NUMBERS: Final = COLUMNS.index("pid")


class Confirm(ModalScreen[bool]):
    """A question; `y` confirms, everything else does not.

    Args:
        text: the question.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes"),
        Binding("n,escape,q,enter", "answer(False)", "no"),
    ]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """Show the question."""
        yield Vertical(Label(Text(self._text)), Label("y: yes   n: no"), id="question")

    def action_answer(self, answer: bool) -> None:
        """Close it."""
        self.dismiss(answer)


class Top(App[None]):
    """The screen.

    Args:
        home: the directory of the only home that is shown; None for all that this user runs.
    """

    CSS: ClassVar[str] = """
    #lines { height: 3fr; }
    #title { height: 1; color: $text-muted; }
    #log { height: 2fr; }
    #told { height: 1; }
    Confirm { align: center middle; }
    #question { width: 60; height: auto; border: round $warning; padding: 1 2; background: $surface; }
    #question Label { width: 100%; margin-bottom: 1; }
    """
    ENABLE_COMMAND_PALETTE: ClassVar[bool] = False
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(deed.key, f"do('{deed.verb}')", deed.verb) for deed in DEEDS),
        Binding("q", "quit", "quit"),
    ]

    def __init__(self, home: str | None) -> None:
        super().__init__()
        self.title = "daemonry top"
        self._watch = Watch(home)
        self._seen: list[Seen] = []
        self._logged = ""
        self._tail: LogTail | None = None
        self._table: DataTable[Text] = DataTable(id="lines", cursor_type="row", zebra_stripes=True)
        self._title = Static(id="title", markup=False)
        self._lines_of_log = RichLog(
            id="log", max_lines=_LOG_LINES, wrap=False, markup=False, highlight=False
        )
        self._told = Static("looking...", id="told", markup=False)

    # --- its parts ------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Lay out the table, the log, the last message, and the keys."""
        yield self._table
        yield self._title
        yield self._lines_of_log
        yield self._told
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        for name in COLUMNS:
            self._table.add_column(name, key=name)
        self._table.focus()
        self.run_worker(self._look_on(), group="look")
        self.set_interval(FOLLOW_POLL_S, self._follow_log)

    def on_unmount(self) -> None:
        """Let go of threads and files."""
        self._watch.close()
        if self._tail is not None:
            self._tail.close()

    # --- the table ------------------------------------------------------------------------------

    async def _look_on(self) -> None:
        first = True
        while True:
            seen = await asyncio.to_thread(self._watch.look)
            self._show(seen)
            if first:
                self._tell("" if seen else "no daemons and no homes run; this screen will show them")
            first = False
            await asyncio.sleep(_REST_S)

    def _show(self, seen: list[Seen]) -> None:
        """Put the lines into the table, and leave the cursor on its line."""
        table = self._table
        chosen = self._line()
        same = [one.line.key for one in seen] == [one.line.key for one in self._seen]
        self._seen = seen
        if same:
            for one in seen:
                for column, text in zip(COLUMNS, _texts(one), strict=True):
                    if table.get_cell(one.line.key, column) != text:
                        table.update_cell(one.line.key, column, text, update_width=True)
            return
        table.clear()
        for one in seen:
            table.add_row(*_texts(one), key=one.line.key)
        keys = [one.line.key for one in seen]
        table.move_cursor(row=keys.index(chosen.key) if chosen and chosen.key in keys else 0)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Show the log of the line under the cursor."""
        key = event.row_key.value
        if key is None or key == self._logged:
            return
        line = next((one.line for one in self._seen if one.line.key == key), None)
        if line is not None:
            self._logged = key
            self._show_log(line)

    def _line(self) -> ServiceLine | None:
        """Return the line under the cursor now; the event of its move may be still to come."""
        row = self._table.cursor_row
        return self._seen[row].line if 0 <= row < len(self._seen) else None

    # --- the log --------------------------------------------------------------------------------

    def _show_log(self, line: ServiceLine) -> None:
        if self._tail is not None:
            self._tail.close()
        self._tail = LogTail(line.log_path, line.name if line.kind == "service" else "")
        self._title.update(f"log of {line.label.lstrip('├└ ')}")
        self._lines_of_log.clear()
        self._follow_log()

    def _follow_log(self) -> None:
        if self._tail is None:
            return
        for text in self._tail.lines():
            self._lines_of_log.write(Text(text))

    # --- the keys -------------------------------------------------------------------------------

    def action_do(self, verb: str) -> None:
        """Do something to the line under the cursor, after a question where it ends something."""
        deed = next(deed for deed in DEEDS if deed.verb == verb)
        line = self._line()
        if line is None:
            self._tell("nothing is chosen")
            return
        try:
            words = command(verb, line)
        except NotPossible as error:
            self._tell(str(error))
            return
        if not deed.asks:
            self.run_worker(self._run(deed, words), group="deeds")
            return

        def confirmed(yes: bool | None) -> None:
            if yes:
                self.run_worker(self._run(deed, words), group="deeds")

        self.push_screen(Confirm(question(deed, line)), confirmed)

    async def _run(self, deed: Deed, words: list[str]) -> None:
        """Run a command of daemonry, and tell the last line that it prints."""
        self._tell(f"{deed.verb} ...")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "daemonry", *words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await process.communicate()
        told = printed.decode("utf-8", "replace").strip().splitlines()
        self._tell(told[-1] if told else f"{deed.verb}: exit code {process.returncode}")

    def _tell(self, text: str) -> None:
        self._told.update(Text(printable(text, 300)))


def _texts(seen: Seen) -> list[Text]:
    state = _STYLES.get(seen.line.state, "yellow")
    return [
        Text(
            cell,
            style=state if name == "state" else "",
            justify="right" if place >= _NUMBERS else "left",
            no_wrap=True,
        )
        for place, (name, cell) in enumerate(zip(COLUMNS, seen.cells, strict=True))
    ]
