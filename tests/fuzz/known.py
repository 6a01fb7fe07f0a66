"""What is known to be otherwise than the properties want it: random sessions leave it out, and
test_examples holds an example of each, which shows that it is still so.

Once an example passes, its fault is mended: then its entry goes from here, and random sessions
cover it from then on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

#: From the request down to a string; the name of a field is the last step, in a tuple.
Path = tuple[Any, ...]

#: Fields of ids, words of the protocols, data and sealed states: rules leave them as they are
#: (docs/policy.md), and what stands there is no text.
_MACHINE = frozenset(
    {
        "type",
        "id",
        "call_id",
        "tool_call_id",
        "tool_use_id",
        "item_id",
        "response_id",
        "file_id",
        "container_id",
        "role",
        "status",
        "phase",
        "media_type",
        "signature",
        "thought_signature",
        "encrypted_content",
        "data",
        "file_data",
        "image_url",
        "url",
        "reasoning_details",
        "model",
    }
)
#: Settings in whose values nobody says anything: rules do not look at them.
_SILENT = frozenset(
    {
        "model",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "top_k",
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        "n",
        "seed",
        "logit_bias",
        "parallel_tool_calls",
        "tool_choice",
        "store",
        "include",
        "truncation",
        "previous_response_id",
        "prompt_cache_key",
        "reasoning",
        "reasoning_effort",
        "thinking",
        "client_metadata",
        "context_management",
        "container",
        "codex_capabilities",
    }
)
_TOOLS = ("tools", "functions")
_SPOKEN = {
    "responses": ("input", "instructions"),
    "chat": ("messages",),
    "messages": ("messages", "system"),
}
_FREE = ("arguments", "input")
#: Rules look at texts of messages, calls and outputs only, so far; masks also at other strings of
#: the conversation, but not at the names of fields, and at neither settings nor tools.
NARROW = True
_TEXTS = {
    "message": "content",
    "function_call": "arguments",
    "custom_tool_call": "input",
    "function_call_output": "output",
    "custom_tool_call_output": "output",
}
_KEPT = _MACHINE | {"name", "namespace"}

#: Complaints about faults that are being mended: what breaks at a request that is not what its
#: protocol says, and answers that pass without being read.
KNOWN = [
    re.compile(r"passing answer: "),
    re.compile(r"broke: addons\.faults .* · shim/(wire|prompt|state|turn|tools|repair)"),
]


def is_known(complaint: str) -> bool:
    """Whether it is one of those."""
    return any(pattern.match(complaint) for pattern in KNOWN)


def is_overlooked(
    protocol: str, request: Any, path: Path, *, masked: bool = False, changed: bool = False
) -> bool:
    """Whether nobody looks at a string at ``path`` of a ``request``: for secrets to be ``masked``,
    for texts to be ``changed``, else for what is refused."""
    fields = [step for step in path if isinstance(step, str)]
    name = isinstance(path[-1], tuple)
    free = any(step in _FREE for step in path[1:] if isinstance(step, str))
    if not free and not name and fields and fields[-1] in _MACHINE:
        return True
    if "reasoning_details" in fields or "signature" in fields or path[0] in _SILENT:
        return True
    # What a provider has signed goes back to it as it came.
    if masked and fields and fields[-1] == "thinking":
        return True
    if not masked and (path[0] in _TOOLS or (changed and name)):
        return True
    return NARROW and _is_narrowly_overlooked(protocol, request, path, name=name, masked=masked)


def _is_narrowly_overlooked(
    protocol: str, request: Any, path: Path, *, name: bool, masked: bool
) -> bool:
    if name or path[0] not in _SPOKEN[protocol]:
        return True
    if masked:
        free = next((n for n, step in enumerate(path) if n and step in _FREE), len(path))
        return not _KEPT.isdisjoint(step for step in path[:free] if isinstance(step, str))
    return path not in set(_texts(protocol, request)) and "input" not in path[3:-1]


def _texts(protocol: str, request: Any) -> Iterator[Path]:
    """Where the texts of a request are that rules know by role, item and tool."""
    for field in _SPOKEN[protocol]:
        spoken = request.get(field)
        yield from _parts(spoken, (field,))
        for n, item in enumerate(spoken if isinstance(spoken, list) else ()):
            if not isinstance(item, dict):
                continue
            kind = item.get("type", "message") if protocol == "responses" else "message"
            key = _TEXTS.get(kind, "") if isinstance(kind, str) else ""
            yield from _parts(item.get(key), (field, n, key))
            blocks = item.get("content") if protocol == "messages" else None
            for m, block in enumerate(blocks if isinstance(blocks, list) else ()):
                if isinstance(block, dict) and block.get("type") == "tool_result":
                    yield from _parts(block.get("content"), (field, n, "content", m, "content"))


def _parts(value: Any, path: Path) -> Iterator[Path]:
    if isinstance(value, str):
        yield path
    for n, part in enumerate(value if isinstance(value, list) else ()):
        fits = isinstance(part, dict) and isinstance(part.get("text"), str)
        if fits and part.get("type") in ("text", "input_text", "output_text"):
            yield (*path, n, "text")
