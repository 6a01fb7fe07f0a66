"""Texts that a policy puts into a prompt, in each protocol's words."""

from __future__ import annotations

import msgspec

from ..json_text import WireError, load, split
from ..policy.rules import Inject
from ..turn import is_text
from .elements import Prompt

_encode = msgspec.json.encode


class _Heading(msgspec.Struct):
    type: str | None = None
    role: str | None = None


_heading = msgspec.json.Decoder(_Heading).decode


def element(protocol: str, role: str, text: str) -> msgspec.Raw:
    """An element in which ``role`` (developer or user) says ``text``."""
    if protocol == "responses":
        content = [{"type": "input_text", "text": text}]
        return msgspec.Raw(_encode({"type": "message", "role": role, "content": content}))
    if protocol == "chat":
        name = "system" if role == "developer" else role
        return msgspec.Raw(_encode({"role": name, "content": text}))
    if role == "developer":
        text = f"<system-reminder>\n{text}\n</system-reminder>"
    return msgspec.Raw(_encode({"role": "user", "content": [{"type": "text", "text": text}]}))


def elements(protocol: str, injects: list[Inject], at: str) -> list[msgspec.Raw]:
    """What is put in at a place of the conversation. Messages take instructions in ``system``."""
    return [
        element(protocol, i.role, i.text or "")
        for i in injects
        if i.at == at and not (protocol == "messages" and i.role == "developer" and at != "end")
    ]


def system(raw: msgspec.Raw | None, injects: list[Inject]) -> msgspec.Raw | None:
    """``system`` of Messages with the instructions that are put around it."""
    before, after = (
        [_block(_encode(i.text or "")) for i in injects if i.at == at and i.role == "developer"]
        for at in ("start", "after_instructions")
    )
    if not before and not after:
        return raw
    own: list[msgspec.Raw] = []
    if raw is not None:
        own = [_block(raw)] if is_text(raw) else split(raw, "system")
    return msgspec.Raw(b"[%b]" % b",".join([*before, *own, *after]))


def put(prompt: Prompt, injects: list[Inject]) -> Prompt:
    """``prompt`` with all of ``injects`` in it."""
    head = system(prompt.head, injects) if prompt.protocol == "messages" else prompt.head
    at = 0
    while at < len(prompt.elements) and instructs(prompt.elements[at]):
        at += 1
    start, after, end = (
        elements(prompt.protocol, injects, place)
        for place in ("start", "after_instructions", "end")
    )
    made = [*start, *prompt.elements[:at], *after, *prompt.elements[at:], *end]
    return Prompt(prompt.protocol, head, made)


def instructs(raw: msgspec.Raw) -> bool:
    """Whether an element is an instruction, as they stand at the head of a conversation."""
    try:
        heading = load(raw, "", _heading)
    except WireError:
        return False
    return heading.role in ("developer", "system") or heading.type == "additional_tools"


def _block(text: bytes | msgspec.Raw) -> msgspec.Raw:
    return msgspec.Raw(b'{"type":"text","text":%b}' % text)
