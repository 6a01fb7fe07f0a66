"""The session logs that coding agents keep, read back into the requests that they sent.

Codex's rollouts (``~/.codex/sessions``) and Claude Code's transcripts (``~/.claude/projects``).
Nothing is written, and a damaged line becomes a note.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import msgspec

from .claude_code import read_claude_code
from .codex import read_codex
from .lines import DAMAGED, SUFFIXES, lines
from .types import LogError, LoggedTurn, Session, Turns

__all__ = ["LogError", "LoggedTurn", "Session", "Turns", "find_logs", "read_log"]

_READERS = {"codex": read_codex, "claude-code": read_claude_code}


class _Any(msgspec.Struct):
    """What tells the lines of one client from those of another; the values do not matter."""

    type: str | None = None
    payload: msgspec.Raw = msgspec.Raw()
    record_type: msgspec.Raw = msgspec.Raw()
    role: msgspec.Raw = msgspec.Raw()
    call_id: msgspec.Raw = msgspec.Raw()
    timestamp: msgspec.Raw = msgspec.Raw()
    id: msgspec.Raw = msgspec.Raw()
    sessionId: msgspec.Raw = msgspec.Raw()
    uuid: msgspec.Raw = msgspec.Raw()
    leafUuid: msgspec.Raw = msgspec.Raw()
    messageId: msgspec.Raw = msgspec.Raw()


_any = msgspec.json.Decoder(_Any)


def find_logs(paths: Iterable[Path]) -> list[Path]:
    """The named files, and every log in the named folders and below, sorted and each once."""
    found: set[Path] = set()
    for path in paths:
        if path.is_dir():
            inside = (p for p in path.rglob("*.jsonl*") if p.name.endswith(SUFFIXES))
            found.update(p for p in inside if p.is_file())
        else:
            found.add(path)
    return sorted(found)


def read_log(path: Path) -> list[Session]:
    """The sessions of one file, the main one first. LogError where it is no session log at all, or
    cannot be opened; a damaged line is a note of the first session."""
    notes: list[str] = []
    every = lines(path, notes)
    head: list[tuple[int, bytes]] = []
    first: tuple[int, str] | None = None
    for number, line in every:
        client, why = _client(line)
        head.append((number, line))
        if client:
            return _READERS[client](path, chain(head, every), notes)
        first = first or (number, why)
    if first is None:
        if notes:
            raise LogError(path, 1, f"no session log: {notes[0]}")
        raise LogError(path, 0, "no session log: the file is empty")
    raise LogError(path, first[0], f"no session log: {first[1]}")


def _client(line: bytes) -> tuple[str, str]:
    """Which client writes such lines; or "" and why that cannot be said."""
    try:
        seen = _any.decode(line)
    except DAMAGED as e:
        return "", str(e)
    if any(map(bytes, (seen.sessionId, seen.uuid, seen.leafUuid, seen.messageId))):
        return "claude-code", ""
    enveloped = bytes(seen.payload) and seen.type
    bare = seen.type and (bytes(seen.role) or bytes(seen.call_id))
    begun = not seen.type and bytes(seen.id) and bytes(seen.timestamp)
    if enveloped or bare or bytes(seen.record_type) or begun or seen.type == "reasoning":
        return "codex", ""
    return "", "neither a line of a Codex rollout nor one of a Claude Code transcript"
