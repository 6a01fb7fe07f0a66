"""What an agent is asked, made of a turn: the new words only where it knows the rest."""

from __future__ import annotations

from typing import Any

import msgspec

from ...turn import Item, Turn, WireError, is_text, text_of, value_of

_TEXTS = frozenset({"input_text", "output_text", "text"})
_ROLES = {"user": "User", "assistant": "Assistant", "developer": "System", "system": "System"}


class Ask(msgspec.Struct):
    """A turn as an agent takes it. ``prompt`` is all there is to say to one that knows nothing,
    ``news`` what has been said since its own last answer; images alike, as URLs."""

    prompt: str
    news: str
    images: list[str]
    new_images: list[str]
    instructions: str = ""
    model: str = ""
    effort: str = ""
    schema: Any = None
    #: What the client offers and an agent cannot use.
    left_out: list[str] = []


def read(turn: Turn) -> Ask:
    """The question in ``turn``. WireError when there is none, or its form cannot be kept."""
    instructions: list[str] = [str(turn.setting("instructions", ""))]
    said: list[tuple[str, str, list[str]]] = []
    for item in turn.items:
        kind = item.type or ("message" if item.role else "")
        if kind == "message":
            text, images = _content(item)
            if item.role in ("developer", "system") and not said:
                instructions.append(text)
            elif text or images:
                said.append((item.role or "user", text, images))
        elif kind in ("function_call_output", "custom_tool_call_output"):
            said.append(("user", f"[tool output]\n{text_of(item.output)}", []))
    last = max((at for at, entry in enumerate(said) if entry[0] == "assistant"), default=-1)
    news = said[last + 1 :]
    if not news:
        raise WireError("there is nothing to answer: the last message is the model's own")
    if ((turn.setting("text") or {}).get("format") or {}).get("type") == "json_object":
        instructions.append("Your answer must be one JSON object and nothing else.")
    effort = turn.setting("reasoning") or {}
    left_out = [f"tool {t.get('name') or t.get('type')}" for t in turn.tools]
    return Ask(
        prompt=_told(said),
        news=_told(news),
        images=[url for _, _, images in said for url in images],
        new_images=[url for _, _, images in news for url in images],
        instructions="\n\n".join(text for text in instructions if text.strip()),
        model=turn.model,
        effort=str(effort.get("effort") or "") if isinstance(effort, dict) else "",
        schema=_schema(turn),
        left_out=left_out,
    )


def _told(said: list[tuple[str, str, list[str]]]) -> str:
    """One message as it is; several with who said each."""
    if len(said) == 1:
        return said[0][1]
    if all(role == "user" for role, _, _ in said):
        return "\n\n".join(text for _, text, _ in said if text)
    head = "This is the conversation so far. Answer its last message.\n\n"
    return head + "\n\n".join(f"{_ROLES.get(role, role)}: {text}" for role, text, _ in said)


def _content(item: Item) -> tuple[str, list[str]]:
    if is_text(item.content):
        return text_of(item.content), []
    texts, images = [], []
    for part in value_of(item.content) or ():
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in _TEXTS:
            texts.append(str(part.get("text") or ""))
        elif kind in ("input_image", "image_url", "local_image"):
            images.append(_url(part))
        elif kind == "refusal":
            texts.append(str(part.get("refusal") or ""))
        else:
            raise WireError(f"content of type {kind!r} cannot be given to an agent", param="input")
    return "\n".join(texts), images


def _url(part: dict[str, Any]) -> str:
    if path := part.get("path"):
        return f"file://{path}"
    url = part.get("image_url")
    if isinstance(url, dict):
        url = url.get("url")
    if not isinstance(url, str) or not url:
        raise WireError("an image needs a URL; ids of uploaded files are not known here")
    return url


def _schema(turn: Turn) -> Any:
    """The JSON Schema that the answer must follow; None when any text will do."""
    form = (turn.setting("text") or {}).get("format") or {}
    if form.get("type") != "json_schema":
        return None
    schema = form.get("schema")
    if not isinstance(schema, dict) or not schema:
        raise WireError(
            "response_format json_schema needs a schema", param="response_format.json_schema.schema"
        )
    return schema
