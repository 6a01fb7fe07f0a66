"""What `make run` prints: Codex's events as they happen, and the closing table."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

#: Lines of a command's output that are shown; the first ones are dropped.
OUTPUT_LINES = 8


class View:
    """Prints the events of ``codex exec --json`` and remembers what the verdict depends on.

    ``patched`` holds the paths that Codex's own apply_patch changed, ``failure`` the last error.
    Paths inside ``root`` are shown relative to it.
    """

    def __init__(self, console: Console, root: Path | None = None) -> None:
        self._console = console
        self._root = root
        self.patched: list[str] = []
        self.failure = ""

    def event(self, event: Mapping[str, Any]) -> None:
        """Print one event; kinds that are not known are passed over."""
        kind, item = event.get("type"), event.get("item")
        if kind == "item.completed" and isinstance(item, dict):
            shown = _ITEMS.get(str(item.get("type")))
            if shown:
                shown(self, item)
        elif kind == "turn.failed":
            error = event.get("error")
            self._trouble(error.get("message") if isinstance(error, dict) else "the turn failed")
        elif kind == "error":
            self._trouble(event.get("message"))

    def note(self, text: str) -> None:
        """A line of our own between those of the session."""
        self._console.print(Text(text, style="dim"))

    def diff(self, text: str) -> None:
        """The change, as `git diff` prints it."""
        for line in text.rstrip().splitlines():
            style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
            self._console.print(Text(line, style=style), soft_wrap=True)

    def _line(self, label: str, style: str, text: str) -> None:
        first, *rest = text.rstrip().splitlines() or [""]
        self._console.print(Text.assemble((f"{label:>9}  ", style), first), soft_wrap=True)
        for line in rest:
            self._console.print(Text(f"{'':9}  {line}".rstrip()), soft_wrap=True)

    def _reasoning(self, item: Mapping[str, Any]) -> None:
        self._line("reasoning", "magenta", str(item.get("text", "")))

    def _message(self, item: Mapping[str, Any]) -> None:
        self._line("message", "bold cyan", str(item.get("text", "")))

    def _command(self, item: Mapping[str, Any]) -> None:
        code = item.get("exit_code")
        self._line("command", "bold yellow", _unwrapped(str(item.get("command", ""))))
        lines = str(item.get("aggregated_output") or "").rstrip().splitlines()
        if len(lines) > OUTPUT_LINES:
            lines = ["…", *lines[-OUTPUT_LINES:]]
        for line in lines:
            self._console.print(Text(f"{'':9}  │ {line}".rstrip(), style="dim"), soft_wrap=True)
        style = "green" if code == 0 else "red"
        self._console.print(Text(f"{'':9}  exit code {code}", style=style))

    def _change(self, item: Mapping[str, Any]) -> None:
        done = item.get("status") == "completed"
        for change in item.get("changes") or []:
            path = str(change.get("path", ""))
            if done:
                self.patched.append(path)
            word = change.get("kind", "update") if done else "could not change"
            self._line("patch", "bold green" if done else "bold red", f"{word} {self._short(path)}")

    def _short(self, path: str) -> str:
        inside = self._root and Path(path).is_relative_to(self._root)
        return str(Path(path).relative_to(self._root)) if self._root and inside else path

    def _tool(self, item: Mapping[str, Any]) -> None:
        name = ".".join(str(item[key]) for key in ("server", "tool") if item.get(key))
        self._line("tool", "bold yellow", f"{name} {item.get('status', '')}")

    def _error(self, item: Mapping[str, Any]) -> None:
        self._line("warning", "red", str(item.get("message", "")))

    def _trouble(self, message: object) -> None:
        self.failure = str(message or "")
        self._line("error", "bold red", self.failure)


_ITEMS = {
    "reasoning": View._reasoning,
    "agent_message": View._message,
    "command_execution": View._command,
    "file_change": View._change,
    "mcp_tool_call": View._tool,
    "error": View._error,
}


def closing_table(rows: Iterable[Mapping[str, Any]], flow_file: str | None) -> Table:
    """The session in numbers, from the rows of ``GET /health?exchanges=1``."""
    rows = list(rows)
    table = Table(show_header=False, title="The session", title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")

    def tokens(name: str) -> int:
        return sum(int((row.get("usage") or {}).get(name) or 0) for row in rows)

    cached = tokens("cached_tokens")
    table.add_row("turns", str(len(rows)))
    table.add_row("tool calls", str(sum(_count(row.get("calls")) for row in rows)))
    table.add_row("tokens in", f"{tokens('input_tokens'):,} ({cached:,} from the prompt cache)")
    table.add_row("tokens out", f"{tokens('output_tokens'):,}")
    added = [float(ms) for row in rows if (ms := (row.get("ms") or {}).get("added")) is not None]
    if added:
        table.add_row(
            "added latency", f"{median(added):.1f} ms per turn, {max(added):.1f} ms worst"
        )
    table.add_row("flow file", flow_file or "none")
    return table


def _unwrapped(command: str) -> str:
    """What the model asked for, without the shell that Codex puts around it."""
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    wrapped = len(words) == 3 and words[1] in ("-c", "-lc") and words[0].endswith("sh")
    return words[2] if wrapped else command


def _count(calls: object) -> int:
    return len(calls) if isinstance(calls, list) else int(calls) if isinstance(calls, int) else 0
