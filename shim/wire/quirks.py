"""What families of providers refuse, and what they call things: data, so that no codec branches."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec


class Quirks(msgspec.Struct, frozen=True):
    """How one family of upstreams differs from the plain protocol.

    ``renames`` maps a setting's name in the plain protocol to the family's; ``refuses`` names the
    settings it answers with an error: they are left out and noted. ``values`` maps, per setting,
    what a client may say to what the family takes; None leaves the setting out.
    """

    renames: dict[str, str] = {}
    refuses: frozenset[str] = frozenset()
    values: dict[str, dict[str, str | None]] = {}
    #: How reasoning effort is asked for: "effort" (reasoning_effort), "object" (reasoning:
    #: {effort}), "thinking" (thinking: {type}), "none".
    reasoning: str = "effort"
    #: Whether a function may carry ``strict``.
    strict: bool = True
    #: Whether ``response_format`` may be a JSON schema; else a forced tool stands in for it.
    schema: bool = True


PLAIN = Quirks()
FAMILIES: dict[str, Quirks] = {}
#: Hosts, and all below them, by the family that answers there.
HOSTS: dict[str, str] = {}


def quirks(base_url: str | None, model: str) -> Quirks:
    """The quirks of the family that ``base_url`` belongs to; PLAIN for an unknown one."""
    host = urlsplit(base_url or "").hostname or ""
    for name, family in HOSTS.items():
        if host == name or host.endswith(f".{name}"):
            return FAMILIES[family]
    return PLAIN
