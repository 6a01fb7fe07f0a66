"""Where no rule looks, and what it may not change, by docs/policy.md: random sessions put nothing
there. A fault that is left as it is would have its entry here, with a sentence on it.
"""

from __future__ import annotations

import re
from typing import Any

#: From the request down to a string; the name of a field is the last step, in a tuple.
Path = tuple[Any, ...]

#: Fields of ids, words of the protocols and sealed states: rules leave them as they are.
MACHINE = frozenset(
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
    }
)
#: Objects whose fields are a tool's, whatever they are called.
FREE = ("arguments", "input")
#: Fields of data and of addresses: what is data there is no text.
_DATA = frozenset({"data", "file_data", "image_url", "url"})
_IS_DATA = re.compile(r"data:.*|[A-Za-z0-9+/=_-]*", re.DOTALL)
#: Settings with words of the protocols and ids: rules do not look at them.
_SILENT = frozenset(
    {
        "model",
        "tool_choice",
        "include",
        "truncation",
        "previous_response_id",
        "prompt_cache_key",
        "reasoning",
        "reasoning_effort",
        "thinking",
        "client_metadata",
        "function_call",
        "conversation",
        "service_tier",
        "verbosity",
        "modalities",
        "prompt_cache_retention",
        "safety_identifier",
        "context_management",
        "container",
        "codex_capabilities",
    }
)
_TOOLS = ("tools", "functions")


def is_machine(path: Path, text: str) -> bool:
    """Whether ``text`` at ``path`` is an id, a word of a protocol, data or a sealed state."""
    if path and isinstance(path[-1], tuple):
        return False
    fields = [step for step in path if isinstance(step, str)]
    if not fields or any(step in FREE for step in path[1:-1]):
        return False
    return fields[-1] in MACHINE or (fields[-1] in _DATA and bool(_IS_DATA.fullmatch(text)))


def is_overlooked(path: Path, text: str, *, masked: bool = False, changed: bool = False) -> bool:
    """Whether nobody looks at ``text``, which is to stand at ``path`` of a request: for secrets to
    be ``masked``, for texts to be ``changed``, else for what is refused."""
    if path[0] in _SILENT or is_machine(path, text):
        return True
    # What a provider has signed goes back to it as it came.
    if "reasoning_details" in path or "signature" in path or (masked and "thinking" in path[-1:]):
        return True
    is_name = isinstance(path[-1], tuple)
    return changed and (path[0] in _TOOLS or is_name)
