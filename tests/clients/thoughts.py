"""What the scripted models think before each step, and what of it a later request holds."""

from __future__ import annotations

from typing import Any

# Base64 as the API has it, and what JSON could write in two ways; thinking between the calls, also
# without readable text and redacted.
_MESSAGES: list[list[dict[str, Any]]] = [
    [
        {"type": "thinking", "thinking": 'Größe? "Read" it\nfirst.', "signature": "EqQB+/8==="},
        {"type": "redacted_thinking", "data": "EmwKAhgB/+sealed=="},
    ],
    [{"type": "redacted_thinking", "data": "Em0second/+=="}],
    [{"type": "thinking", "thinking": "", "signature": "EqRB/omitted+=="}],
    [{"type": "thinking", "thinking": "Done.", "signature": "EqSBlast+/="}],
]


def thoughts(protocol: str, step: int) -> list[dict[str, Any]]:
    """The thinking before a step, in the form of the upstream's protocol."""
    text = f"I think about step {step}."
    if protocol == "chat":
        return [{"reasoning_content": text}]
    if protocol == "messages":
        return _MESSAGES[step]
    summary = [{"type": "summary_text", "text": text}]
    sealed = {"encrypted_content": f"sealed-{step}-äöü="}
    return [{"type": "reasoning", "id": f"rs_{step}", "summary": summary, **sealed}]


def kept(protocol: str, body: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The thinking that a request gives back, per step; in Messages only what opens the answer."""
    if protocol == "responses":
        return [[item] for item in body["input"] if item.get("type") == "reasoning"]
    answers = [m for m in body["messages"] if m["role"] == "assistant"]
    if protocol == "chat":
        return [[{"reasoning_content": m.get("reasoning_content")}] for m in answers]
    found = []
    for answer in answers:
        kinds = [block["type"] for block in answer["content"]]
        found.append(answer["content"][: kinds.index("text")])
    return found
