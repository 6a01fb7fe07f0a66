"""A recorded or live message as text to read: what mitmweb's views show.

``turn`` is the conversation item by item, ``tools`` what was offered, ``timeline`` the events of a
stream, ``exchange`` what the recording's row tells: decisions, tokens, times.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec

from ..wire.sse import SSEDecoder, is_stream
from .pieces import Piece, answer_pieces, request_pieces, tokens
from .summary import decisions, told

_RULE = "─"
_WIDE = 74
_LINES = 60
_DELTA_TEXT = 60


def turn(body: bytes, path: str, row: dict[str, Any], *, answer: bool) -> str:
    """The items of a request or of an answer, each under its name."""
    pieces = answer_pieces(body, path) if answer else request_pieces(body, path)
    parts = [head(row)] if row else []
    settings = [p for p in pieces if p.kind == "setting"]
    if settings:
        parts.append("\n".join(f"{p.label}: {_cut(p.text)}" for p in settings))
    if offered := [p.label for p in pieces if p.kind == "tool"]:
        parts.append(f"{len(offered)} tools: {', '.join(offered)}")
    shown = [p for p in pieces if p.kind not in ("setting", "tool")]
    parts += [_block(n, piece) for n, piece in enumerate(shown, 1)]
    return "\n\n".join(parts) + "\n"


def tools(body: bytes, path: str) -> str:
    """The tools a request offers, with what they are said to do."""
    found = [p for p in request_pieces(body, path) if p.kind == "tool"]
    if not found:
        return "no tools are offered\n"
    return "\n\n".join(_block(n, piece) for n, piece in enumerate(found, 1)) + "\n"


def timeline(body: bytes, row: dict[str, Any]) -> str:
    """The events of a stream in their order; runs of deltas of one thing are one line."""
    decoder = SSEDecoder()
    events = [*decoder.feed(body), *decoder.close()] if is_stream(body) else []
    if not events:
        return "no events: the answer was not streamed\n"
    lines = [head(row), ""] if row else []
    runs = list(_runs(events))
    wide = max(len(name) for _, name, _ in runs)
    lines += [f"{n:>4}  {name:<{wide}}  {said}".rstrip() for n, name, said in runs]
    return "\n".join(lines) + "\n"


def exchange(row: dict[str, Any]) -> str:
    """What the row of an exchange tells: the way it took and why, tokens, times."""
    if not row:
        return "this flow is no exchange of the chain\n"
    lines = [head(row), ""]
    for name in ("exchange", "leg", "thread", "session"):
        if row.get(name):
            lines.append(f"{name:<10}{row[name]}")
    route = row.get("route") or {}
    if route:
        lines.append(f"{'route':<10}{route.get('provider')}/{route.get('model')}")
        lines.append(f"{'protocol':<10}{route.get('protocol')}")
        lines.append(f"{'because':<10}{route.get('reason')}")
    lines += ["", "decisions", *(f"  {text}" for text in decisions(row) or ["(none)"])]
    if usage := row.get("usage"):
        lines += ["", "tokens", f"  {tokens(usage)}"]
    if account := row.get("account"):
        lines += _account(account)
    ms = row.get("ms") or {}
    times = [f"{name.replace('_', ' ')} {ms[name]} ms" for name in ms if ms[name] is not None]
    lines += ["", "times", f"  {', '.join(times) or '(none)'}"]
    if row.get("error"):
        lines += ["", "failed", f"  {row['error']}"]
    return "\n".join(lines) + "\n"


def head(row: dict[str, Any]) -> str:
    """The exchange in one line, with whose leg of it this is."""
    leg = {"client": "client leg", "upstream": "upstream leg"}.get(str(row.get("leg")), "")
    return " · ".join(part for part in (leg, told(row)) if part)


def _account(account: dict[str, Any]) -> Iterable[str]:
    yield f"  billed as {account.get('billed'):,} input tokens"
    if account.get("saved"):
        yield f"  saved {account['saved']:,} tokens of repetition"
    if account.get("dollars") is not None:
        yield f"  ${account['dollars']:.6f}"


def _block(number: int, piece: Piece) -> str:
    name = f"{number}. {piece.title}" + (f" · {piece.key}" if piece.key else "")
    size = f"{len(piece.text):,} characters" if len(piece.text) > 400 else ""
    rule = _RULE * max(3, _WIDE - len(name) - len(size) - 3)
    top = " ".join(part for part in (name, rule, size) if part)
    return f"{top}\n{_body(piece.text)}"


def _body(text: str) -> str:
    lines = text.splitlines() or ["(empty)"]
    if len(lines) > _LINES:
        left = len(lines) - _LINES
        lines = [*lines[: _LINES - 10], f"… {left:,} more lines …", *lines[-10:]]
    return "\n".join(f"  {line}" for line in lines)


def _runs(events: list[tuple[str | None, bytes]]) -> Iterable[tuple[int, str, str]]:
    """The number of the first event, the name and what it says, of each line."""
    run: list[str] = []
    first, name = 1, ""
    for n, (event, data) in enumerate(events, 1):
        what, said, delta = _event(event, data)
        if run and (what != name or not delta):
            yield _run(first, name, run)
            run = []
        if delta:
            if not run:
                first, name = n, what
            run.append(said)
        else:
            yield n, what, _cut(said, _DELTA_TEXT + 20)
    if run:
        yield _run(first, name, run)


def _run(first: int, name: str, run: list[str]) -> tuple[int, str, str]:
    text = "".join(run)
    many = f" ×{len(run)}" if len(run) > 1 else ""
    said = _cut(json.dumps(text, ensure_ascii=False), _DELTA_TEXT)
    return first, name + many, f"{len(text):,} characters {said}"


def _event(event: str | None, data: bytes) -> tuple[str, str, bool]:
    """An event's name, what it says, and whether it is a piece of something longer."""
    if event is None:
        return ": comment", data.decode("utf-8", "replace"), False
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return event or "data", data.decode("utf-8", "replace"), False
    try:
        return _said(event, value)
    except (AttributeError, KeyError, TypeError):
        return event or "data", json.dumps(value), False


def _said(event: str | None, value: Any) -> tuple[str, str, bool]:
    if not isinstance(value, dict):
        return event or "data", json.dumps(value, ensure_ascii=False), False
    if value.get("object") == "chat.completion.chunk" or "choices" in value:
        return _chunk(value)
    kind = str(value.get("type") or event or "data")
    delta = value.get("delta")
    if isinstance(delta, str):
        return kind, delta, True
    if isinstance(delta, dict):
        return _messages_delta(kind, delta)
    return kind, _detail(value), False


def _messages_delta(kind: str, delta: dict[str, Any]) -> tuple[str, str, bool]:
    for name in ("text", "thinking", "partial_json", "signature"):
        if isinstance(delta.get(name), str):
            return f"{kind} {name}", delta[name], True
    return kind, json.dumps(delta, ensure_ascii=False), False


def _chunk(value: dict[str, Any]) -> tuple[str, str, bool]:
    choices = value.get("choices") or []
    choice = choices[0] if choices and isinstance(choices[0], dict) else {}
    delta = choice.get("delta") or choice.get("message") or {}
    if choice.get("finish_reason"):
        return "chunk finish", str(choice["finish_reason"]), False
    for name in ("content", "reasoning_content", "reasoning", "refusal"):
        if isinstance(delta.get(name), str) and delta[name]:
            return f"chunk {name}", delta[name], True
    calls = delta.get("tool_calls") or []
    if calls and isinstance(calls[0], dict):
        function = calls[0].get("function") or {}
        if function.get("name"):
            return "chunk call", str(function["name"]), False
        return "chunk arguments", str(function.get("arguments") or ""), True
    if value.get("usage"):
        return "chunk usage", json.dumps(value["usage"], ensure_ascii=False), False
    return "chunk", ", ".join(delta), False


def _detail(value: dict[str, Any]) -> str:
    """What an event without a delta is about."""
    response = value.get("response")
    if isinstance(response, dict):
        parts = [str(response.get("status") or ""), str(response.get("id") or "")]
        if isinstance(response.get("usage"), dict):
            counts = {k: v for k, v in response["usage"].items() if isinstance(v, int)}
            parts.append(tokens(counts))
        if isinstance(response.get("error"), dict):
            parts.append(str(response["error"].get("message")))
        return " · ".join(part for part in parts if part)
    for name in ("item", "part", "content_block", "message"):
        inner = value.get(name)
        if isinstance(inner, dict):
            words = (inner.get("type"), inner.get("name"), inner.get("id"))
            return " ".join(str(word) for word in words if word)
    for name in ("text", "arguments", "input"):
        if isinstance(value.get(name), str):
            return f"{len(value[name]):,} characters"
    error = value.get("error")
    return str(error.get("message") if isinstance(error, dict) else error or "")


def _cut(text: str, most: int = 200) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
