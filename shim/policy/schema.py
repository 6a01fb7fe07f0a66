"""The types of a policy file. The page for users is docs/policy.md."""

from __future__ import annotations

from typing import Literal

import msgspec

Protocol = Literal["chat", "responses", "messages"]
Auth = Literal["bearer", "x-api-key", "api-key", "none"]

#: Providers that need no entry: the target of ``--mode reverse:URL`` and the offline demo model.
BUILT_IN = ("reverse", "demo")


class Provider(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where a model is reached: everything about the endpoint, nothing about a model.

    Without ``auth`` the key goes where the protocol expects it.
    """

    base_url: str
    protocol: Protocol = "chat"
    key: str = ""
    auth: Auth | None = None
    headers: dict[str, str] = {}
    query: dict[str, str] = {}


class Model(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A name the client may ask for, and what stands behind it.

    ``context_window`` is in tokens; ``reasoning`` lists the effort names the model takes.
    """

    provider: str
    model: str | None = None
    context_window: int = 128_000
    images: bool = True
    reasoning: list[str] = []
    description: str = ""


class Policy(msgspec.Struct, frozen=True):
    """A whole policy. ``default`` names the model that answers for unknown names.

    ``websocket``: Responses are served over WebSocket too.
    """

    providers: dict[str, Provider] = {}
    models: dict[str, Model] = {}
    default: str | None = None
    websocket: bool = False
    source: str = ""

    @property
    def empty(self) -> bool:
        """Whether nothing was said: then everything goes to the ``--mode reverse:`` target."""
        return not (self.providers or self.models or self.default)
