"""Reasoning under its many names in a Chat Completions answer."""

from __future__ import annotations

from typing import Any

from ..lenient import objects, text_of


class Thoughts:
    """Gathers reasoning under its many names, to be shown and to be given back as it came."""

    def __init__(self) -> None:
        self._text: dict[str, list[str]] = {}
        self._details: list[dict[str, Any]] = []
        self._parts: list[str] = []

    @property
    def waits(self) -> bool:
        """Whether anything has gathered since the last `drain`."""
        return bool(self._text or self._details or self._parts)

    def take(self, delta: dict[str, Any]) -> str:
        """The readable thinking in ``delta``, each piece once however often it stands there."""
        shown = ""
        for name in ("reasoning_content", "reasoning", "thinking"):
            piece = delta.get(name)
            if isinstance(piece, str) and piece:
                self._text.setdefault(name, []).append(piece)
                shown = shown or piece
        from_details = "".join([self._detail(d) for d in objects(delta.get("reasoning_details"))])
        content = delta.get("content")
        if isinstance(content, list | dict):
            pieces = [_thinking(p) for p in objects(content)]
            self._parts += [p for p in pieces if p]
            shown = shown or "".join(pieces)
        return shown or from_details

    def _detail(self, detail: dict[str, Any]) -> str:
        last = self._details[-1] if self._details else {}
        grows = [k for k in ("text", "summary") if isinstance(detail.get(k), str)]
        same = (
            last
            and all(last.get(k) == detail.get(k) for k in ("type", "index"))
            and (not detail.get("id") or last.get("id") == detail.get("id"))
        )
        if same and "data" not in detail and "data" not in last:
            for key, value in detail.items():
                if key in grows:
                    last[key] = text_of(last.get(key)) + value
                elif value not in (None, ""):
                    last[key] = value
        else:
            self._details.append(dict(detail))
        return "".join(detail[k] for k in grows)

    def drain(self) -> dict[str, Any]:
        """What gathered since the last time: the assistant message's fields to be given back."""
        if not self.waits:
            return {}
        fields: dict[str, Any] = {k: "".join(v) for k, v in self._text.items()}
        if self._details:
            fields["reasoning_details"] = self._details
        if self._parts:
            thinking = [{"type": "text", "text": "".join(self._parts)}]
            fields["content"] = [{"type": "thinking", "thinking": thinking}]
        self._text, self._details, self._parts = {}, [], []
        return fields


def _thinking(part: dict[str, Any]) -> str:
    if part.get("type") != "thinking":
        return ""
    inner = part.get("thinking")
    if isinstance(inner, str):
        return inner
    return "".join(text_of(p.get("text")) for p in objects(inner))
