"""Tools of the Responses API that have no schema on the wire and that the client runs itself.

To an upstream of another protocol each is a function; its call comes back as the item the client
runs. To add one: an entry in ``HOSTED``. Tools that OpenAI's own servers run (web search and the
like) are not here: nobody behind the chain could answer their calls. Source: OpenAI's API
reference (responses/create, tools).
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..json_text import load
from ..turn import Item, OutputItem, WireError, is_absent, is_text
from ..wire.lenient import Unreadable, strict

_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_WHOLE = {"type": "integer"}


def _schema(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


class Hosted(msgspec.Struct, frozen=True):
    """One tool: its name and schema as a function, and the item that calls it.

    ``field`` of the item holds the arguments, with ``fixed`` always among them; ``also`` are
    further fields every call has.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    call: str
    field: str
    fixed: dict[str, Any] = {}
    also: dict[str, Any] = {}


_COMPUTER = Hosted(
    "computer",
    "Controls the computer: one action at a time, answered with a screenshot.",
    _schema(
        "type",
        type={
            "type": "string",
            "enum": [
                "click",
                "double_click",
                "drag",
                "keypress",
                "move",
                "screenshot",
                "scroll",
                "type",
                "wait",
            ],
        },
        x=_WHOLE,
        y=_WHOLE,
        button={"type": "string", "enum": ["left", "right", "wheel", "back", "forward"]},
        keys=_TEXTS,
        text=_TEXT,
        scroll_x=_WHOLE,
        scroll_y=_WHOLE,
        path={"type": "array", "items": _schema("x", "y", x=_WHOLE, y=_WHOLE)},
    ),
    "computer_call",
    "action",
    also={"pending_safety_checks": []},
)
#: By the tool's type, newer and older names.
HOSTED: dict[str, Hosted] = {
    "local_shell": Hosted(
        "local_shell",
        "Runs a command on the user's machine.",
        _schema("command", command=_TEXTS, working_directory=_TEXT, timeout_ms=_WHOLE),
        "local_shell_call",
        "action",
        fixed={"type": "exec"},
    ),
    "shell": Hosted(
        "shell",
        "Runs shell commands on the user's machine, one after the other.",
        _schema("commands", commands=_TEXTS, timeout_ms=_WHOLE, max_output_length=_WHOLE),
        "shell_call",
        "action",
    ),
    "apply_patch": Hosted(
        "apply_patch",
        "Creates, updates or deletes one file. `diff` is a V4A diff without a header: lines that"
        " stay begin with a blank, new ones with +, removed ones with -, places with @@.",
        _schema(
            "type",
            "path",
            type={"type": "string", "enum": ["create_file", "update_file", "delete_file"]},
            path=_TEXT,
            diff=_TEXT,
        ),
        "apply_patch_call",
        "operation",
    ),
    "computer_use_preview": _COMPUTER,
    "computer_use": _COMPUTER,
    "computer": _COMPUTER,
}
#: Items that call a tool of one fixed name, by their type, and the items that answer calls.
NAMES = {tool.call: tool.name for tool in HOSTED.values()} | {"tool_search_call": "tool_search"}
CALLS = frozenset({"function_call", "custom_tool_call", *NAMES})
OUTPUTS = frozenset(
    {
        "function_call_output",
        "custom_tool_call_output",
        "tool_search_output",
        *(f"{tool.call}_output" for tool in HOSTED.values()),
    }
)
_FIELDS = {tool.call: tool.field for tool in HOSTED.values()}
#: Items of tools that servers run: what they found is in the text that follows them.
SERVED = frozenset(
    {
        "web_search_call",
        "file_search_call",
        "code_interpreter_call",
        "image_generation_call",
        "mcp_call",
        "mcp_list_tools",
        "mcp_approval_request",
        "mcp_approval_response",
    }
)


def call_item(tool: Hosted, call_id: str, arguments: str) -> OutputItem:
    """The item that calls ``tool``; arguments that are no object become its only field."""
    try:
        value = strict(arguments or "{}")
    except Unreadable:
        value = arguments
    given = value if isinstance(value, dict) else {"input": value}
    fields = {tool.field: {**tool.fixed, **given}, **tool.also}
    return {"type": tool.call, "call_id": call_id, **fields}


def arguments_of(item: Item) -> msgspec.Raw:
    """What the call ``item`` says, as undecoded JSON of an object."""
    raw = getattr(item, _FIELDS.get(item.type or "", "arguments"), msgspec.Raw())
    return msgspec.Raw(b"{}") if is_absent(raw) else raw


class _Shot(msgspec.Struct):
    image_url: msgspec.Raw = msgspec.Raw()


_shot = msgspec.json.Decoder(_Shot).decode


def output_of(item: Item) -> msgspec.Raw:
    """An output as undecoded JSON of a string or of a list of parts."""
    raw = item.output
    if is_text(raw) or item.type in ("function_call_output", "custom_tool_call_output"):
        return raw
    if item.type == "computer_call_output":
        try:
            url = load(raw, "", _shot).image_url
        except WireError:
            url = msgspec.Raw()
        if is_text(url):
            return msgspec.Raw(b'[{"type":"input_image","image_url":%b}]' % url)
    said = item.status or "done" if is_absent(raw) else bytes(raw).decode()
    return msgspec.Raw(msgspec.json.encode(said))
