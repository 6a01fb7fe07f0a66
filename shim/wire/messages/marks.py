"""Breakpoints of Anthropic's prompt cache in a request that a client of Messages sent without any.

Four at most: the tools, the system prompt, where the last turn ended, and where this one does. The
third finds what the last turn wrote even when more than the 20 blocks lie between that the
provider looks back. Source: Anthropic's page on prompt caching.
"""

from __future__ import annotations

import msgspec

from ...json_text import WireError, load, members, split
from ...turn import is_text, text_of

_encode = msgspec.json.encode


class _Role(msgspec.Struct):
    role: str | None = None


_role = msgspec.json.Decoder(_Role).decode


def control(life: str) -> dict[str, str]:
    """The value of ``cache_control``; five minutes are the provider's default."""
    return {"type": "ephemeral"} if life == "5m" else {"type": "ephemeral", "ttl": life}


def tails(roles: list[str]) -> list[int]:
    """The messages at whose end breakpoints belong: the last of the user, and the one where the
    last turn ended, which is the last before what the model said since."""
    users = [n for n, role in enumerate(roles) if role == "user"]
    said = [n for n, role in enumerate(roles) if role == "assistant"]
    found = users[-1:]
    if found and said:
        found += [n for n in users if n < max((s for s in said if s < found[0]), default=0)][-1:]
    return found


def mark(fields: dict[str, msgspec.Raw], life: str) -> None:
    """Put breakpoints into the top-level ``fields`` of a request."""
    marker = control(life)
    try:
        for name in ("tools", "system"):
            if name in fields and (marked := _marked(fields[name], marker)):
                fields[name] = marked
        messages = split(fields["messages"])
        roles = [load(raw, "", _role).role or "" for raw in messages]
        changed = [(n, marked) for n in tails(roles) if (marked := _message(messages[n], marker))]
    except (WireError, KeyError):
        # The upstream will say what is wrong with it.
        return
    for n, message in changed:
        messages[n] = message
    if changed:
        fields["messages"] = msgspec.Raw(b"[%b]" % b",".join(messages))


def _message(raw: msgspec.Raw, marker: dict[str, str]) -> msgspec.Raw | None:
    message = members(raw)
    marked = _marked(message.get("content", msgspec.Raw()), marker)
    return msgspec.Raw(_encode({**message, "content": marked})) if marked else None


def _marked(raw: msgspec.Raw, marker: dict[str, str]) -> msgspec.Raw | None:
    """A text or a list of blocks with a breakpoint at its end; None where none can stand."""
    if is_text(raw) and text_of(raw).strip():
        raw = msgspec.Raw(b'[{"type":"text","text":%b}]' % raw)
    entries = split(raw) if bytes(memoryview(raw)[:1]) == b"[" else []
    if not entries or bytes(memoryview(entries[-1])[:1]) != b"{":
        return None
    last = {**members(entries[-1]), "cache_control": msgspec.Raw(_encode(marker))}
    return msgspec.Raw(b"[%b]" % b",".join([*entries[:-1], _encode(last)]))
