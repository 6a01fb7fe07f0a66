"""Makes recordings that may be shared, and checks them: what ``interpose record`` runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec
from mitmproxy import http
from mitmproxy.connection import Client, Server

from addons.flowfile import (
    Unreadable,
    body_of,
    files,
    flows_of,
    recorded_of,
    row_of,
    set_body,
    write,
)
from addons.offline import Replayer
from addons.one_session import of_session
from shim.cli.pipe import printing
from shim.cli.record import add_arguments, rules
from shim.client import facts_of, is_credential
from shim.record import sanitise, summary
from shim.record.findings import Finding, findings, forms, hides
from shim.record.pseudonyms import Pseudonyms
from shim.record.replay import Recorded, Replayed
from shim.shown import line
from shim.turn import WireError
from shim.wire.paths import protocol_of
from shim.wire.protocols import codec

_KEY = b"[redacted]"


class Sanitiser:
    """Gives flows pseudonyms, all of them the same ones."""

    def __init__(self, args: argparse.Namespace, flows: list[http.HTTPFlow]) -> None:
        seeds = [str(row["seed"]) for row in map(row_of, flows) if row.get("seed")]
        replace = rules(args.replace)
        if args.pictures == "blank":
            replace += sanitise.PICTURES
        self._names = Pseudonyms(replace, args.name, seeds)
        self._hide = args.prompts == "hide"
        self._prompts: dict[str, str] = {}
        for recorded in recorded_of(flows):
            self._names.project(_project(recorded))
        for flow in flows:
            self._names.host(flow.request.host)
            for text in (*_texts(flow), *_bodies(flow)):
                self._names.learn(text)

    def clean(self, flow: http.HTTPFlow) -> None:
        """Give ``flow`` pseudonyms, in place."""
        text = self._names.text
        flow.id = text(flow.id)
        # What stood there before somebody edited it in mitmproxy.
        flow._backup = None
        flow.comment = sanitise.body(flow.comment.encode(), text).decode()
        # Metadata of other addons may be anything: a proxy's user and password are.
        row = str(flow.metadata.get(summary.KEY, ""))
        policy = str(flow.metadata.get(summary.POLICY, ""))
        flow.metadata = {}
        if policy:
            flow.metadata[summary.POLICY] = sanitise.body(policy.encode(), text).decode()
        if row:
            flow.metadata[summary.KEY] = sanitise.body(row.encode(), text).decode()
        if flow.error:
            flow.error.msg = text(flow.error.msg)
        flow.request.path = text(flow.request.path)
        flow.request.host = self._names.host(flow.request.host)
        for message in (flow.request, flow.response):
            if message is None:
                continue
            named = ((k, self._header(k, v)) for k, v in message.headers.fields)
            message.headers = http.Headers(list(named))
            body = body_of(message)
            prompt = self._prompt if self._hide and message is flow.request else None
            set_body(message, sanitise.body(body, text, prompt=prompt))
        self._connections(flow)

    def _prompt(self, text: str) -> str:
        number = len(self._prompts) + 1
        return self._prompts.setdefault(text, f"[prompt {number}, {len(text):,} characters]")

    def _header(self, name: bytes, value: bytes) -> bytes:
        if is_credential(name.decode("latin-1")):
            return _KEY
        said = value.decode("latin-1")
        if name.lower() == b"host":
            host, colon, port = said.rpartition(":")
            made = self._names.host(host or port) + (colon + port if host else "")
            return made.encode("latin-1")
        return self._names.text(said).encode("latin-1")

    def _connections(self, flow: http.HTTPFlow) -> None:
        """What two connections tell of machines goes; only the upstream's address is told."""
        client, server = flow.client_conn, flow.server_conn
        address = server.address and (self._names.host(server.address[0]), server.address[1])
        flow.client_conn = Client(
            peername=("127.0.0.1", 0),
            sockname=("127.0.0.1", 8080),
            timestamp_start=client.timestamp_start,
            proxy_mode=client.proxy_mode,
        )
        flow.server_conn = Server(address=address, timestamp_start=server.timestamp_start)
        flow.client_conn.id = self._names.text(client.id)
        flow.server_conn.id = self._names.text(server.id)


def main(argv: list[str] | None = None) -> int:
    """0 when the files may be shared; 1 when something is left in them; 2 for unreadable ones."""
    parser = argparse.ArgumentParser(prog="interpose record")
    add_arguments(parser)
    args = parser.parse_args(argv)
    try:
        if args.check:
            return max([_check(path) for path in files(args.files)], default=0)
        paths = list(files(args.files))
        out = Path(args.output)
        many = len(paths) > 1 or out.is_dir()
        return max(_sanitise(p, out / p.name if many else out, args) for p in paths)
    except Unreadable as e:
        print(f"interpose: {e}", file=sys.stderr)
        return 2


def _sanitise(source: Path, target: Path, args: argparse.Namespace) -> int:
    flows = [f for f in flows_of(source) if isinstance(f, http.HTTPFlow) and row_of(f)]
    if not flows:
        raise Unreadable(f"{source}: holds no recorded exchanges")
    if args.session:
        kept = {recorded.name for recorded in of_session(list(recorded_of(flows)), args.session)}
        flows = _with_policies(flows, kept)
    same, others, left = sanitised(flows, args)
    if left:
        for said in left:
            print(line(f"{source}: {said}"), file=sys.stderr)
        print(f"{target}: not written", file=sys.stderr)
        return 1
    write(target, flows)
    changed = f", {others} of which replay otherwise than before" if others else ""
    print(f"{target}: {same} exchanges{changed}")
    return 1 if others else 0


def _with_policies(flows: list[http.HTTPFlow], kept: set[str]) -> list[http.HTTPFlow]:
    """Those of ``flows`` whose exchanges are ``kept``, with the policies that others told."""
    told: dict[str, str] = {}
    chosen: list[http.HTTPFlow] = []
    for flow in flows:
        row = row_of(flow)
        version = str(row.get("policy"))
        if policy := flow.metadata.get(summary.POLICY):
            told[version] = str(policy)
        if row["exchange"] in kept:
            chosen.append(flow)
            if row["leg"] == "client" and version in told:
                flow.metadata[summary.POLICY] = told[version]
    return chosen


def sanitised(
    flows: list[http.HTTPFlow], args: argparse.Namespace | None = None
) -> tuple[int, int, list[str]]:
    """Make ``flows`` fit to be shared, in place: how many exchanges they are, how many replay
    otherwise than before, and what is left that must not be shared."""
    same = [not replayed.differences for _, replayed in _replayed(flows)]
    sanitiser = Sanitiser(args or _plain_arguments(), flows)
    for flow in flows:
        sanitiser.clean(flow)
    _renew(flows, same)
    pairs = zip(_replayed(flows), same, strict=True)
    others = sum(bool(replayed.differences) for (_, replayed), before in pairs if before)
    return len(same), others, list(_left(flows))


def _plain_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(["--sanitise", ""])


def _renew(flows: list[http.HTTPFlow], same: list[bool]) -> None:
    """Let what the chain makes of a message be made anew, so that ids that it derives fit."""
    legs = {(row["exchange"], row["leg"]): f for f in flows if (row := row_of(f))}
    for (recorded, replayed), before in zip(list(_replayed(flows)), same, strict=True):
        made, name = replayed.made, recorded.row["exchange"]
        if not before or made is None:
            continue
        if made.request is not None and (name, "upstream") in legs:
            set_body(legs[name, "upstream"].request, made.request)
        response = legs[name, "client"].response
        if made.answer is not None and response and not replayed.not_compared:
            set_body(response, made.answer)


def _replayed(flows: list[http.HTTPFlow]) -> Iterator[tuple[Recorded, Replayed]]:
    with Replayer() as replayer:
        for recorded in recorded_of(flows):
            yield recorded, replayer.run(recorded)


def _check(path: Path) -> int:
    flows = [f for f in flows_of(path) if isinstance(f, http.HTTPFlow)]
    left = list(_left(flows))
    for said in left:
        print(line(f"{path}: {said}"))
    print(f"{path}: {f'{len(left)} things that must not be shared' if left else 'may be shared'}")
    return 1 if left else 0


def _left(flows: Iterable[http.HTTPFlow]) -> Iterator[str]:
    """What must not be shared, each once, told without telling it."""
    seen: set[tuple[str, str]] = set()
    read: set[str] = set()
    for number, flow in enumerate(flows, 1):
        yield from (f"flow {number}: key: the header {name}" for name in _open(flow))
        if flow._backup:
            yield f"flow {number}: hidden: the flow as it was before it was edited in mitmproxy"
        texts = [(text, True) for text in _texts(flow)] + [(text, False) for text in _bodies(flow)]
        texts = [(text, whole) for text, whole in texts if text not in read]
        read.update(text for text, _ in texts)
        for text, whole in texts:
            found = ((f, form) for form in forms(text) for f in findings(form, whole=whole))
            told = [(finding.kind, _hint(finding, form)) for finding, form in found]
            told += [("hidden", what) for what in hides(text)]
            for kind, what in told:
                if (kind, what) not in seen:
                    seen.add((kind, what))
                    yield f"flow {number}: {kind}: {what}"


def _hint(finding: Finding, text: str) -> str:
    what = text[finding.start : finding.end]
    if finding.kind != "key":
        return what
    return f"{what[:4]}… ({len(what)} characters)"


def _texts(flow: http.HTTPFlow) -> Iterator[str]:
    """Every text in ``flow``."""
    yield from (flow.id, flow.request.pretty_url, flow.error.msg if flow.error else "")
    yield from sanitise.texts(flow.comment.encode())
    for value in flow.metadata.values():
        yield from sanitise.texts(str(value).encode())
    for message in (flow.request, flow.response):
        if message is None:
            continue
        yield from (value.decode("latin-1") for _, value in message.headers.fields)
        yield from sanitise.texts(body_of(message))


def _bodies(flow: http.HTTPFlow) -> Iterator[str]:
    """The bodies of ``flow`` as they stand: in a stream, a name may be cut anywhere."""
    messages = (message for message in (flow.request, flow.response) if message)
    yield from (body_of(message).decode("utf-8", "replace") for message in messages)


def _open(flow: http.HTTPFlow) -> Iterator[str]:
    """The headers of ``flow`` that hold a credential."""
    for message in (flow.request, flow.response):
        for name, value in message.headers.items(multi=True) if message else ():
            if is_credential(name) and value.encode() != _KEY:
                yield name


def _project(recorded: Recorded) -> str:
    protocol = protocol_of(recorded.request.path) or "responses"
    try:
        turn = codec(protocol).read_request(recorded.request.body)
        return facts_of(recorded.request.headers, turn).project
    except (WireError, msgspec.MsgspecError):
        return ""


if __name__ == "__main__":
    sys.exit(printing(main))
