"""What a stage of the chain is: hooks with mitmproxy's names that take and return values.

Only the runner touches a flow. ``load``, ``configure``, ``running``, ``done`` and commands are as
for any addon of mitmproxy. The hooks of a turn, each of them optional, and sync or async:

- ``requestheaders(access, policy)``: an Access or a Reply, before the body has come;
- ``page(access)``: for what is no turn: a Reply, or the UpstreamRequest that it becomes;
- ``request(intake, decision)``: the Decision with the stage's own parts, or a Reply that ends it;
- ``responseheaders(intake, decision, head, passage)``: the Passage of an upstream's answer;
- ``response(intake, decision, outcome)`` and ``error(…)``: the Outcome with the stage's own parts;
- ``settle(intake, decision, outcome)``: the same, whatever broke before;
- ``ended(ended)``: it is over, and has a row.
"""

from __future__ import annotations

from typing import Any, ClassVar

from mitmproxy.addonmanager import Loader


class Stage:
    """One step of a turn's way; a stage that makes nothing of a phase has no hook for it.

    ``writes`` are the parts of the decision that it may set, besides notes. A stage that
    ``observes`` makes neither the request nor the answer: when it breaks, that is noted, and a good
    answer still passes. A stage that ``waits`` for others (a disk, a network) adds no time of the
    chain's own.
    """

    writes: ClassVar[frozenset[str]] = frozenset()
    observes: ClassVar[bool] = False
    waits: ClassVar[bool] = False

    def load(self, loader: Loader) -> None:
        """Declare options."""

    def configure(self, updated: set[str]) -> None:
        """Take over options; OptionsError refuses them."""

    @property
    def name(self) -> str:
        """How notes and logs call it."""
        return type(self).__name__.lower()


#: What a hook gives: None leaves everything as it is.
Result = Any
