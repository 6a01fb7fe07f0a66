"""Which conversation a request belongs to, and which session of the agent that is.

A client names its conversation in the body or in a header; what it is called there never reaches a
path or a command line, only a digest of it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

import msgspec

from ..state.store import Store

#: The header in which the chain tells the engine server the conversation of a turn.
HEADER = "x-interpose-session"
#: Digests of the names that a turn's client gives its own session.
ASKER = "x-interpose-asker"
#: Where a conversation's name may stand, the first that is there counts. A user is no conversation,
#: but all that such a client tells.
_BODY = ("session_id", "conversation_id", "thread_id")
_HEADERS = ("x-session-id", "session-id", "x-conversation-id", "x-thread-id")
_USER_BODY, _USER_HEADER = "user", "x-user-id"
_LONGEST = 4096


def named(own: Mapping[str, msgspec.Raw], headers: Mapping[str, str], owner: str) -> str:
    """A digest of the conversation that a request names; empty when it names none.

    ``own`` are the body's top-level fields, ``owner`` tells clients with different keys apart.
    """
    name = ""
    for field in _BODY:
        name = name or _text(own.get(field))
    for header in _HEADERS:
        name = name or headers.get(header, "")
    name = name or _text(own.get(_USER_BODY)) or headers.get(_USER_HEADER, "")
    if not name.strip():
        return ""
    return digest(f"{owner}\0{name.strip()[:_LONGEST]}")


def digest(name: str) -> str:
    """``name`` as what may stand anywhere."""
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _text(raw: msgspec.Raw | None) -> str:
    if raw is None:
        return ""
    value = msgspec.json.decode(raw)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


class Sessions:
    """The agent's own sessions by the conversation they belong to, kept in ``store``."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, agent: str, conversation: str) -> str | None:
        """The agent's name for its session of ``conversation``; None when it has none yet."""
        found = self._store.get(_key(agent, conversation)) if conversation else None
        return found.decode() if found else None

    def put(self, agent: str, conversation: str, session: str) -> None:
        """Remember it."""
        if conversation and session:
            self._store.put(_key(agent, conversation), session.encode())


def _key(agent: str, conversation: str) -> str:
    return f"agent:{agent}:{conversation}"
