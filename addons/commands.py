"""Commands for mitmproxy's own prompt and mitmweb: look at the policy in force, try another."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from mitmproxy import command, ctx, exceptions, flow, http
from mitmproxy import types as kinds

from addons.flowfile import Unreadable, recorded_of, row_of, write
from addons.runs import answers
from addons.sanitise import sanitised
from addons.services import Services
from addons.stage import Stage
from shim.policy.load import PolicyError, examine, load_policy
from shim.policy.read import NotReadable, read
from shim.policy.trial import Trier, compare
from shim.record import summary
from shim.record.replay import Recorded
from shim.shown import line

logger = logging.getLogger(__name__)


class Commands(Stage):
    def __init__(self, services: Services) -> None:
        self._services = services

    @command.command("interpose.policy.check")
    def check(self, path: kinds.Path) -> str:
        """Say what is wrong with a policy file, and what costs."""
        file = Path(path).expanduser()
        try:
            report = examine(read(file), str(path), file.parent)
        except NotReadable as e:
            raise exceptions.CommandError(str(e)) from None
        told = [*report.problems, *report.warnings]
        said = "\n".join(map(str, told)) or f"{path}: good"
        _say(said)
        return said

    @command.command("interpose.policy.reload")
    def reload(self) -> str:
        """Read the policy file again, whether it looks edited or not."""
        policies = self._services.policies
        if policies.path is None:
            raise exceptions.CommandError("there is no policy file; give one by --set policy=FILE")
        policies.reload()
        if policies.error:
            raise exceptions.CommandError(policies.error)
        said = f"{policies.path} read again"
        _say(said)
        return said

    @command.command("interpose.explain")
    def explain(self, flows: Sequence[flow.Flow]) -> str:
        """Say what was decided about exchanges, and why."""
        lines: list[str] = []
        for recorded in _recorded(flows):
            row = recorded.row
            route = row.get("route") or {}
            target = f"{route['provider']}/{route['model']}" if route else "no route"
            head = f"{row.get('model') or '(no model)'} → {target} · {row.get('status')}"
            lines += [line(head), *(line(f"  {said}") for said in summary.decisions(row))]
        said = "\n".join(lines) or "none of these flows is an exchange of the chain"
        _say(said)
        return said

    @command.command("interpose.policy.diff")
    def diff(self, path: kinds.Path, flows: Sequence[flow.Flow]) -> str:
        """Say what another policy would have changed about exchanges."""
        try:
            new = Trier(load_policy(path))
        except PolicyError as e:
            raise exceptions.CommandError(str(e)) from None
        policy = self._services.policies.current()
        old = Trier(policy, self._services.default(policy))
        lines: list[str] = []
        for recorded in _recorded(flows):
            before, after = old.run(recorded), new.run(recorded)
            if before and after and (change := compare(before, after)):
                lines += map(line, [change.exchange, *(f"  {said}" for said in change.said)])
        said = "\n".join(lines) or "nothing would change"
        _say(said)
        return said

    @command.command("interpose.fixture")
    def fixture(self, flows: Sequence[flow.Flow], path: kinds.Path) -> str:
        """Write exchanges, sanitised, to a file for interpose replay and --set replay=FILE."""
        # Whoever chooses one leg means the exchange; what is shown stays as it is.
        chosen = [f for f in flows if isinstance(f, http.HTTPFlow)]
        copies = [self._copy(f) for f in _whole(chosen)]
        file = Path(path).expanduser()
        if not copies:
            raise exceptions.CommandError("none of these flows is an exchange of the chain")
        many, others, left = sanitised(copies)
        if left:
            raise exceptions.CommandError(f"{file} not written: {'; '.join(left)}")
        try:
            write(file, copies)
        except Unreadable as e:
            raise exceptions.CommandError(str(e)) from None
        said = f"{file}: {many} exchange{'s' if many > 1 else ''}"
        if others:
            said += f", {others} of which replay otherwise than before"
        _say(said)
        return said

    def _copy(self, shown: http.HTTPFlow) -> http.HTTPFlow:
        made = http.HTTPFlow.from_state(shown.get_state())
        assert isinstance(made, http.HTTPFlow)
        if answer := answers.get(shown):
            made.response = answer.copy()
        return made


def _whole(flows: Sequence[http.HTTPFlow]) -> list[http.HTTPFlow]:
    """The recorded ``flows`` with the other legs of their exchanges, where these are shown."""
    names = {row["exchange"] for row in map(row_of, flows) if row}
    view = ctx.master.addons.get("view")
    shown = [f for f in view.resolve("@all") if isinstance(f, http.HTTPFlow)] if view else []
    among = {f.id: f for f in (*shown, *flows) if row_of(f).get("exchange") in names}
    return list(among.values())


def _recorded(flows: Sequence[flow.Flow]) -> Iterator[Recorded]:
    return recorded_of(f for f in flows if isinstance(f, http.HTTPFlow))


def _say(text: str) -> None:
    # mitmweb shows no command's answer, but it shows the log.
    for said in text.split("\n"):
        logger.log(25, "%s", said)
