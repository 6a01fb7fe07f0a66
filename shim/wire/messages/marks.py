"""Breakpoints of Anthropic's prompt cache in a request that a client of Messages sent without any.

Four at most: the tools, the system prompt, where the last turn ended, and where this one does. The
third finds what the last turn wrote even when more than the 20 blocks lie between that the
provider looks back. Source: Anthropic's page on prompt caching.
"""

from __future__ import annotations

from typing import Any

import msgspec

_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode = msgspec.json.decode
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
    made = control(life)
    for name in ("tools", "system"):
        raw = fields.get(name)
        value = _decode(raw) if raw is not None else None
        if name == "system" and isinstance(value, str) and value:
            value = [{"type": "text", "text": value}]
        if isinstance(value, list) and value and isinstance(value[-1], dict):
            value[-1]["cache_control"] = made
            fields[name] = msgspec.Raw(_encode(value))
    try:
        messages = _list(fields["messages"])
        roles = [_role(raw).role or "" for raw in messages]
    except (msgspec.DecodeError, KeyError):
        # The upstream will say what is wrong with it.
        return
    changed = [(n, marked) for n in tails(roles) if (marked := _marked(messages[n], made))]
    for n, marked in changed:
        messages[n] = marked
    if changed:
        fields["messages"] = msgspec.Raw(b"[%b]" % b",".join(messages))


def _marked(raw: msgspec.Raw, made: dict[str, str]) -> msgspec.Raw | None:
    message: dict[str, Any] = _decode(raw)
    content = message.get("content")
    if isinstance(content, str) and content.strip():
        content = message["content"] = [{"type": "text", "text": content}]
    if not isinstance(content, list) or not content or not isinstance(content[-1], dict):
        return None
    content[-1]["cache_control"] = made
    return msgspec.Raw(_encode(message))
