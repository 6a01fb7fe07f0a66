"""The body of a recorded message as pieces one can read: settings, tools, items, tokens.

Requests and answers of every protocol become the same kinds of pieces, so that they can be shown
alike and compared with each other. What cannot be read as what it should be is one piece, as it is.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from ..turn import (
    CallDelta,
    CallStart,
    Failure,
    Finish,
    Item,
    Reasoning,
    Refusal,
    Text,
    Turn,
    Usage,
    is_text,
    text_of,
    value_of,
)
from ..wire.errors import event_failure
from ..wire.paths import protocol_of
from ..wire.protocols import codec

#: Settings that are told by pieces of their own.
_TOLD = frozenset({"input", "tools", "messages", "system", "instructions"})
#: Fields of a Responses answer in which an echo of the request stands, or that change every time.
_ERROR = "error"


class Piece(msgspec.Struct, frozen=True):
    """One thing of a message: its ``kind`` (message, call, output, tool, …), whose or which it is,
    and what it says. ``key`` is an id that is nobody's words."""

    kind: str
    label: str
    text: str
    key: str = ""

    @property
    def title(self) -> str:
        """The piece's name, without what it says."""
        return f"{self.kind} {self.label}".strip()


def request_pieces(body: bytes, path: str) -> list[Piece]:
    """What a request to ``path`` holds: settings, tools, then the conversation."""
    protocol = protocol_of(path) or _guess(body)
    if protocol is None:
        return [_raw(body)]
    try:
        return turn_pieces(codec(protocol).read_request(body))
    except Exception:
        # What no codec can read is what one wants to look at most.
        return [_raw(body)]


def turn_pieces(turn: Turn) -> list[Piece]:
    """What ``turn`` holds: settings, tools, then the conversation."""
    made = [
        Piece("setting", name, _short_json(value_of(raw)))
        for name, raw in turn.own.items()
        if name not in _TOLD
    ]
    made += [_tool(tool) for tool in turn.tools]
    if text := text_of(turn.fields.get("instructions", msgspec.Raw())):
        made.append(Piece("message", "instructions", text))
    return made + conversation(turn)


def conversation(turn: Turn) -> list[Piece]:
    """The items of ``turn``'s input."""
    return [_item(item) for item in turn.items]


def answer_pieces(body: bytes, path: str) -> list[Piece]:
    """What an answer to a request to ``path`` holds: items, why it ended, tokens."""
    protocol = protocol_of(path)
    if protocol is None:
        return [_raw(body)]
    try:
        return _answer(body, protocol)
    except Exception:
        return [_raw(body)]


def _answer(body: bytes, protocol: str) -> list[Piece]:
    decoder = codec(protocol).decoder(lambda: "", "upstream", set)
    try:
        whole = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        if b"data:" not in body:
            return [_raw(body)] if body else []
        events = [*decoder.feed(body), *decoder.close()]
    else:
        if not codec(protocol).is_answer(whole):
            said = whole if isinstance(whole, dict) else {}
            if not (said.get("error") or said.get("message")):
                return [_raw(body)]
            failure = event_failure(said, "upstream")
            return [Piece(_ERROR, failure.code or failure.type, failure.message)]
        events = decoder.whole(body)
    return _assembled(events)


def _assembled(events: list[Any]) -> list[Piece]:
    """The items that the events of an answer make up."""
    made: list[Piece] = []
    calls: dict[int, tuple[int, str, str]] = {}
    said: dict[int, list[str]] = {}
    ends: list[Piece] = []
    for event in events:
        if isinstance(event, Reasoning):
            _grow(made, "reasoning", "", event.text)
        elif isinstance(event, Text):
            _grow(made, "message", "assistant", event.text)
        elif isinstance(event, Refusal):
            _grow(made, "refusal", "assistant", event.text)
        elif isinstance(event, CallStart):
            calls[event.key] = (len(made), event.name, event.id)
            said[event.key] = []
            made.append(Piece("call", event.name, "", event.id))
        elif isinstance(event, CallDelta) and event.key in said:
            said[event.key].append(event.arguments)
        elif isinstance(event, Finish):
            ends.append(Piece("end", "", event.reason))
        elif isinstance(event, Usage):
            ends.append(Piece("usage", "", tokens(msgspec.structs.asdict(event))))
        elif isinstance(event, Failure):
            ends.append(Piece(_ERROR, event.code or event.type, event.message))
    for key, (at, name, call_id) in calls.items():
        made[at] = Piece("call", name, _arguments("".join(said[key])), call_id)
    return made + ends


def _grow(made: list[Piece], kind: str, label: str, text: str) -> None:
    if made and made[-1].kind == kind:
        made[-1] = Piece(kind, label, made[-1].text + text)
    else:
        made.append(Piece(kind, label, text))


def tokens(usage: dict[str, Any]) -> str:
    """Token counts in words; by the names of `Usage` or those of a recording's row."""

    def of(name: str) -> int:
        return int(usage.get(name) or usage.get(f"{name}_tokens") or 0)

    parts = []
    if cached := of("cached"):
        parts.append(f"{cached:,} from the cache")
    if written := of("cache_write"):
        parts.append(f"{written:,} written to it")
    told = f" ({', '.join(parts)})" if parts else ""
    thought = f" ({of('reasoning'):,} of them thinking)" if of("reasoning") else ""
    return f"in {of('input'):,}{told}, out {of('output'):,}{thought}"


def _item(item: Item) -> Piece:
    kind = item.type or "message"
    if kind == "message":
        return Piece("message", item.role or "", _content(item.content))
    if kind == "reasoning":
        text = _content(item.summary) or _content(item.content)
        return Piece("reasoning", "", text or "(nothing readable)")
    key = item.call_id or ""
    if kind in ("function_call", "custom_tool_call"):
        name = f"{item.namespace}.{item.name}" if item.namespace else item.name or ""
        given = text_of(item.input) if kind == "custom_tool_call" else text_of(item.arguments)
        return Piece("call", name, _arguments(given), key)
    if kind.endswith("_output"):
        return Piece("output", "failed" if item.failed else "", _content(item.output), key)
    fields = (item.action, item.operation, item.arguments, item.tools, item.output, item.content)
    told = [text_of(raw) for raw in fields if memoryview(raw).nbytes]
    return Piece(kind, item.name or item.role or "", "\n".join(t for t in told if t), key)


def _content(raw: msgspec.Raw) -> str:
    """The text of a content or output; parts that are no text are named."""
    if is_text(raw):
        return text_of(raw)
    value = value_of(raw)
    if not isinstance(value, list):
        return "" if value is None else _short_json(value)
    return "\n".join(_part(part) for part in value)


def _part(part: Any) -> str:
    if not isinstance(part, dict):
        return _short_json(part)
    for name in ("text", "refusal"):
        if isinstance(part.get(name), str):
            return str(part[name])
    told = {k: v for k, v in part.items() if k != "type"}
    return f"[{part.get('type')}: {_cut(_short_json(told))}]"


def _arguments(text: str) -> str:
    """A call's arguments as lines; a lone text argument, such as a patch, as itself."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if not isinstance(value, dict):
        return text
    if list(value) == ["input"] and isinstance(value["input"], str):
        return str(value["input"])
    return "\n".join(
        f"{name}: {given if isinstance(given, str) else _short_json(given)}"
        for name, given in value.items()
    )


def _tool(tool: dict[str, Any]) -> Piece:
    kind = str(tool.get("type") or "function")
    inner = tool.get("tools")
    name = str(tool.get("name") or "")
    if isinstance(inner, list):
        named = [str(t.get("name")) for t in inner if isinstance(t, dict)]
        return Piece("tool", name or kind, f"{kind}: {', '.join(named)}")
    schema = tool.get("parameters")
    given = schema.get("properties") if isinstance(schema, dict) else None
    takes = f"({', '.join(given)})" if isinstance(given, dict) else f"[{kind}]"
    about = str(tool.get("description") or "").strip()
    return Piece("tool", name or kind, f"{takes} {about}".strip())


def _guess(body: bytes) -> str | None:
    """The protocol of a compaction request, whose path is none of the three."""
    return "responses" if b'"input"' in body[:4096] and body[:1] == b"{" else None


def _raw(body: bytes) -> Piece:
    return Piece("body", "", body.decode("utf-8", "replace"))


def _short_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _cut(text: str, most: int = 120) -> str:
    return text if len(text) <= most else f"{text[:most]}… {len(text):,} characters"
