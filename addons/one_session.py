"""``--session``: the exchanges of one session among those recorded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from addons.flowfile import Unreadable
from shim.record.replay import Recorded
from shim.route.rules import newest_text
from shim.shown import short
from shim.turn import WireError
from shim.wire.paths import protocol_of
from shim.wire.protocols import codec

_LAST = "last"

type Place = tuple[Path, Recorded]


def of_session(found: Sequence[Recorded], wanted: str) -> list[Recorded]:
    """Those of ``found`` that are in one session: the ``last`` one, that whose id begins or ends as
    ``wanted`` does, or whose first prompt begins so. Unreadable, with those there are, for none."""
    sessions: dict[str, list[Recorded]] = {}
    for recorded in sorted(found, key=lambda r: r.at):
        row = recorded.row
        name = row.get("session") or row.get("thread") or recorded.name
        sessions.setdefault(str(name), []).append(recorded)
    chosen = _chosen(sessions, wanted)
    if not chosen:
        told = [f"  {name}  {short(_begins(one), 60)}" for name, one in sessions.items()]
        raise Unreadable("\n".join([f"no session {wanted!r}; there are", *told[-20:]]))
    kept = {recorded.name for name in chosen for recorded in sessions[name]}
    return [recorded for recorded in found if recorded.name in kept]


def in_session(places: Sequence[Place], wanted: str) -> list[Place]:
    """The same of exchanges, each with the file it is in; all of them where none is ``wanted``."""
    if not wanted:
        return list(places)
    kept = {recorded.name for recorded in of_session([r for _, r in places], wanted)}
    return [(path, recorded) for path, recorded in places if recorded.name in kept]


def _chosen(sessions: dict[str, list[Recorded]], wanted: str) -> list[str]:
    if wanted == _LAST:
        return [max(sessions, key=lambda name: sessions[name][-1].at)] if sessions else []
    part = wanted.lstrip("…")
    named = [
        name
        for name, one in sessions.items()
        for id in (name, str(one[0].row.get("thread") or ""))
        if id.startswith(part) or id.endswith(part)
    ]
    if named:
        return named
    words = " ".join(wanted.split()).casefold()
    return [name for name, one in sessions.items() if _begins(one).casefold().startswith(words)]


def _begins(session: Sequence[Recorded]) -> str:
    """How the first prompt of a session begins, on one line."""
    request = session[0].request
    try:
        turn = codec(protocol_of(request.path) or "responses").read_request(request.body)
        return " ".join(newest_text(turn).split())
    except (WireError, msgspec.MsgspecError, ValueError):
        return ""
