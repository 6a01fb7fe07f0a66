"""What an agent is asked, made of a turn: the new words only where it knows the rest."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec

from ...turn import Item, Turn, WireError, is_text, text_of, value_of

#: How much one request may hold: messages, characters, a schema's bytes and its depth.
MOST_MESSAGES, LONGEST, LARGEST_SCHEMA, DEEPEST_SCHEMA = 20_000, 8_000_000, 256 * 1024, 64
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


def read(turn: Turn) -> Ask:
    """The question in ``turn``. WireError when there is none, or its form cannot be kept."""
    if len(turn.items) > MOST_MESSAGES:
        raise WireError(f"{len(turn.items)} messages; an agent takes at most {MOST_MESSAGES}")
    choice = turn.setting("tool_choice")
    if turn.tools and (choice == "required" or isinstance(choice, dict)):
        raise WireError("an agent calls no tools of its client", param="tool_choice")
    form = _object(_object(turn.setting("text")).get("format"))
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
        elif kind in ("function_call", "custom_tool_call"):
            called = text_of(item.arguments if kind == "function_call" else item.input)
            said.append(("assistant", f"[calls {item.name} with {called}]", []))
    last = max((at for at, entry in enumerate(said) if entry[0] == "assistant"), default=-1)
    news = said[last + 1 :]
    if not news:
        raise WireError("there is nothing to answer: the last message is the model's own")
    if form.get("type") == "json_object":
        instructions.append("Your answer must be one JSON object and nothing else.")
    prompt = _told(said)
    instructed = "\n\n".join(text for text in instructions if text.strip())
    if (size := len(prompt) + len(instructed)) > LONGEST:
        raise WireError(f"the prompt has {size} characters; an agent takes at most {LONGEST}")
    return Ask(
        prompt=prompt,
        news=_told(news),
        images=[url for _, _, images in said for url in images],
        new_images=[url for _, _, images in news for url in images],
        instructions=instructed,
        model=turn.model,
        effort=str(_object(turn.setting("reasoning")).get("effort") or ""),
        schema=_schema(form),
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
        return f"file://{quote(str(path), errors='replace')}"
    url = part.get("image_url")
    if isinstance(url, dict):
        url = url.get("url")
    if not isinstance(url, str) or not url:
        raise WireError("an image needs a URL; ids of uploaded files are not known here")
    return url


def _schema(form: dict[str, Any]) -> Any:
    """The JSON Schema that the answer must follow; None when any text will do."""
    if form.get("type") != "json_schema":
        return None
    schema, param = form.get("schema"), "response_format.json_schema.schema"
    if not isinstance(schema, dict) or not schema:
        raise WireError("response_format json_schema needs a schema", param=param)
    if _depth(schema) > DEEPEST_SCHEMA:
        raise WireError(f"the schema is nested over {DEEPEST_SCHEMA} levels deep", param=param)
    if (size := len(msgspec.json.encode(schema))) > LARGEST_SCHEMA:
        said = f"the schema has {size} bytes; at most {LARGEST_SCHEMA} are taken"
        raise WireError(said, param=param)
    return schema


def _depth(value: Any) -> int:
    """How deep ``value`` is nested, as far as it matters."""
    level, depth = [value], 0
    while level and depth <= DEEPEST_SCHEMA:
        depth += 1
        below = (v.values() if isinstance(v, dict) else v for v in level)
        level = [w for inner in below for w in inner if isinstance(w, dict | list)]
    return depth


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
