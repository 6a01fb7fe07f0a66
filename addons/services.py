"""What the stages share beyond one turn. Each is made once, here, and never replaced."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from addons.engines import Engines
from shim.encodings import Limit
from shim.exchange.client_keys import ClientKeys
from shim.live.metrics import Metrics
from shim.live.sign_in import SignIns
from shim.live.sums import Live
from shim.policy.schema import Policy
from shim.policy.store import PolicyStore
from shim.route.failures import Failures
from shim.route.health import Breakers
from shim.route.initial import instead_of_demo
from shim.route.switch import Switch
from shim.state.store import CurrentStore

if TYPE_CHECKING:
    from shim.daemon.files import Files

#: Rows of ended turns that ``/health?exchanges`` shows.
_MOST_ROWS = 1000


class Recording:
    """What the recorder says of itself; the stage that records writes it."""

    def __init__(self) -> None:
        self.file: str | None = None
        self.error: str | None = None
        #: Waits until everything that has ended is written down.
        self.settle: Callable[[], Awaitable[None]] | None = None


class Services:
    """The policy in force, what must be remembered, who is up, and what the turns came to."""

    def __init__(self) -> None:
        #: Whether the chain has started: until then a bad option ends the process.
        self.running = False
        #: The largest body that is taken.
        self.body_limit = Limit()
        #: Each says in a word why no turn can be served now, or nothing; a stage adds its own.
        self.hindrances: list[Callable[[], str]] = [lambda: "" if self.running else "starting"]
        self.client_keys = ClientKeys()
        self.sign_ins = SignIns()
        self.policies = PolicyStore()
        self.store = CurrentStore()
        self.engines = Engines(self.policies, self.store)
        self.failures = Failures()
        self.breakers = Breakers()
        #: The model that was switched to; it counts more than the defaults.
        self.switch = Switch()
        self.default_model: str | None = None
        #: The model that was chosen for a user who has chosen none; it goes before the demo only.
        self.initial_model: str | None = None
        self.recording = Recording()
        self.rows: deque[dict[str, Any]] = deque(maxlen=_MOST_ROWS)
        self.metrics = Metrics()
        self.live = Live()

    def keys(self) -> frozenset[str]:
        """What must be written nowhere, whoever sends it: the policy's keys and the chain's own."""
        return self.policies.keys.union(self.client_keys.valid or (), self.engines.keys)

    def default(self, policy: Policy) -> str | None:
        """The model for names the policy does not know; None when only the policy may say."""
        named = self.switch.default(policy) or self.default_model
        return named or instead_of_demo(policy, self.initial_model)

    def daemon(self) -> Files | None:
        """The daemon's files, if this process is the daemon; None for any other chain."""
        path = self.switch.path
        if path is None:
            return None
        from shim.daemon.files import Files

        files = Files(path.parent)
        return files if files.who().get("pid") == os.getpid() else None
