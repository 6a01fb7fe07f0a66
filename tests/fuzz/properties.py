"""What must hold of every session, in three sentences: what the rules forbid is not sent; what is
secret neither leaves nor is written nor reaches another client; every turn has exactly one end."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from addons.flow_values import upstream_request
from addons.flowfile import flows_of, row_of
from shim.wire.paths import COUNT
from tests.fuzz.case import identity
from tests.fuzz.chain import CLIENT_KEY
from tests.fuzz.evidence import Evidence, Trace, headers_of, json_of
from tests.fuzz.known import is_machine
from tests.fuzz.looking import Way, Words, inner_strings, said_in_pieces, strings, written_in
from tests.fuzz.policy import (
    CLIENT_KEYS,
    DROPPED,
    ENVIRONMENT,
    REFUSED_PATTERN,
    REMOVED_TOOL,
    REPLACED,
    TARGET,
    UPSTREAMS,
)
from tests.fuzz.requests import SECRETS, unpacked
from tests.fuzz.wellformed import wrong_with

#: Processor seconds that a hook, or a piece of a stream, may take.
MOST_SECONDS = 2.0
_CALLS = frozenset({"tool_calls", "function_call", "arguments", "function", "custom"})
_SPOKEN = frozenset({"input", "messages", "instructions", "system"})
_SENT_SECRETS = Words(s for s in SECRETS if not s.startswith("host-"))
_WRITTEN_SECRETS = Words(SECRETS)
_OWN_KEYS = [CLIENT_KEY.format(n) for n in range(2)]
_CLIENTS_OWN = [
    *_OWN_KEYS,
    *CLIENT_KEYS,
    "cookie-of-the-client",
    "gateway-token-of-the-client",
    "query-key-of-the-client",
    "org-of-the-client",
]
_POLICYS = [ENVIRONMENT[n] for n in ENVIRONMENT if n.endswith("_KEY")] + [
    UPSTREAMS["demo.example"][1]
]
_CREDENTIALS = Words([*_CLIENTS_OWN, *_POLICYS])


@dataclass(frozen=True)
class Complaint:
    """Something that may not be: its kind, and what it was."""

    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


def complaints(evidence: Evidence) -> list[Complaint]:
    """All that may not be of what came of a session."""
    found = [*_sent(evidence), *_secrets(evidence), *_ends(evidence), *_answers(evidence)]
    found += [Complaint("raised", text) for text in evidence.raised]
    if evidence.slowest[0] > MOST_SECONDS:
        found.append(Complaint("slow", f"{evidence.slowest[1]} took {evidence.slowest[0]:.1f} s"))
    for level, text in evidence.logged:
        if level >= 40 and ("Traceback" in text or text.startswith("asyncio ")):
            found.append(Complaint("broke", _fault(text)))
    return list(dict.fromkeys(found))


def _fault(text: str) -> str:
    """A logged fault: its first line, where it was raised, and with what."""
    # What came first is what stands before what was made of it.
    lines = text.partition("\nThe above exception")[0].splitlines()
    raised = [line.strip() for line in lines if line.strip().startswith("File ")]
    inside = [line for line in raised if "/shim/" in line or "/addons/" in line]
    where = re.sub(r'File ".*?/((?:shim|addons)/[^"]+)", line \d+', r"\1", (inside or [""])[-1])
    cause = next((x for x in lines if re.match(r"^[\w.]*(Error|Exception|Exit)\b", x)), lines[-1])
    return f"{re.sub(r'error [0-9a-f]+', 'error', lines[0])} · {where} · {cause[:160]}"


# ---- what the rules forbid is not sent ----


def _sent(evidence: Evidence) -> Iterator[Complaint]:
    for trace in evidence.traces:
        if trace.sent is None:
            continue
        yield from _way_out(trace)
        for way, text in strings(trace.sent.body):
            if not is_machine(way, text):
                if REFUSED_PATTERN.search(text):
                    yield Complaint("refused", f"{_place(way)} holds {text!r:.80}")
                for word in (REPLACED, DROPPED):
                    if word in text and way and way[0] in _SPOKEN and not _is_call(way, trace):
                        yield Complaint("changed", f"{_place(way)} holds {word}")
        for name in _tool_names(json_of(trace.sent.body)):
            if name == REMOVED_TOOL:
                yield Complaint("tool", f"{name} was offered to {trace.sent.host}")
    for question in evidence.questions:
        for _, text in inner_strings(question):
            if REFUSED_PATTERN.search(text):
                yield Complaint("refused", f"the classifier was asked {text!r:.80}")


def _way_out(trace: Trace) -> Iterator[Complaint]:
    """Nothing leaves but what the last stage has built, for whom it was meant."""
    sent = trace.sent
    assert sent
    if not trace.sealed or sent.port == 0:
        yield Complaint("way out", f"neither answered nor let out: {sent.host}:{sent.port}")
        return
    upstream = trace.decision.upstream if trace.decision else None
    if upstream is not None:
        built = upstream_request(upstream, trace.flow.request)
        same = (built.data.host, built.data.port, built.data.path, built.data.content)
        if same != (sent.host, sent.port, sent.path, sent.body):
            yield Complaint("way out", f"{sent.host} gets what no stage has built")
    elif trace.intake is not None:
        yield Complaint("way out", "a turn left that no stage has built")
    if sent.host not in UPSTREAMS and sent.host != TARGET:
        yield Complaint("way out", f"nobody knows {sent.host}")


def _is_call(way: Way, trace: Trace) -> bool:
    """Whether a string is what a model has written as a call: rules look at it only."""
    return bool(_CALLS.intersection(s for s in way[1:] if isinstance(s, str))) or "input" in way[1:]


def _place(way: Way) -> str:
    return ".".join(str(step[0] if isinstance(step, tuple) else step) for step in way)


def _tool_names(value: Any) -> Iterator[str]:
    tools = value.get("tools") if isinstance(value, dict) else None
    todo = list(tools) if isinstance(tools, list) else []
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            kind = one.get("type")
            inner = one.get(kind) if isinstance(kind, str) else None
            yield str((inner if isinstance(inner, dict) else one).get("name"))
            more = one.get("tools")
            todo += more if isinstance(more, list) else []


# ---- what is secret ----


def _secrets(evidence: Evidence) -> Iterator[Complaint]:
    for trace in evidence.traces:
        if trace.sent is None:
            continue
        found = strings(trace.sent.body)
        places = [(way, text) for way, text in found if not is_machine(way, text)]
        for word in _SENT_SECRETS.among(text for _, text in places):
            where = next((_place(way) for way, text in places if word in text), "")
            yield Complaint("secret sent", f"{word} to {trace.sent.host} in {where}")
        yield from _credentials_sent(trace)
    for question in evidence.questions:
        for word in _SENT_SECRETS.among(text for _, text in inner_strings(question)):
            yield Complaint("secret sent", f"{word} to the classifier")
    yield from _secrets_written(evidence)
    yield from _secrets_of_others(evidence)


def _credentials_sent(trace: Trace) -> Iterator[Complaint]:
    """A key goes to whom it is for, and to nobody else."""
    sent = trace.sent
    assert sent
    own = sent.host == TARGET
    # What a client calls its threads passes to its own target.
    named = [b"%b: %b" % (k, v) for k, v in sent.fields if k != b"x-thread-id" or not own]
    head = b"\n".join([sent.path, *named])
    allowed = set(_CLIENTS_OWN) - set(CLIENT_KEYS) if own else {UPSTREAMS[sent.host][1]}
    for word in _CREDENTIALS.found(head) - allowed:
        yield Complaint("key sent", f"{word} to {sent.host}")
    # Under the client's own protocol its own header fields pass to the target it has always had.
    if not own:
        for word in _WRITTEN_SECRETS.found(head):
            yield Complaint("secret sent", f"{word} to {sent.host} in its head")


def _secrets_written(evidence: Evidence) -> Iterator[Complaint]:
    texts = [("a log", text.encode("utf-8", "surrogatepass")) for _, text in evidence.logged]
    texts += [("a row", msgspec.json.encode(row)) for row in evidence.rows]
    texts += [(trace.path, trace.got.body) for trace in evidence.pages if trace.got]
    for where, data in (*texts, *written_in(evidence.folder)):
        for word in _WRITTEN_SECRETS.found(data) | _CREDENTIALS.found(data):
            yield Complaint("secret written", f"{word} in {where}")
    for key, data in evidence.stored.items():
        for word in _CREDENTIALS.found(data):
            yield Complaint("secret written", f"{word} in the stored response {key}")


def _secrets_of_others(evidence: Evidence) -> Iterator[Complaint]:
    """What one client has sent reaches no other, and the policy's keys reach none in an error."""
    case = evidence.case
    known: dict[tuple[str, ...], set[str]] = {}
    for trace in evidence.traces:
        whose = known.setdefault(identity(case, trace.exchange.who), set())
        whose |= _told(unpacked(trace.body)) | _told(unpacked(trace.raw)) | _read(trace)
        whose |= _WRITTEN_SECRETS.found(trace.path.encode())
        for _, value in trace.exchange.fields:
            whose |= _WRITTEN_SECRETS.found(value.encode())
    for trace in evidence.traces:
        got = trace.got
        if got is None:
            continue
        told = _told(got.body) | _WRITTEN_SECRETS.found(repr(got.fields).encode())
        for word in told - known[identity(case, trace.exchange.who)]:
            yield Complaint("secret of another", f"{word} reaches {trace.exchange.who}")
        passes = got.body == trace.raw
        if got.status >= 400 and not passes:
            for word in Words(_POLICYS).found(got.body):
                yield Complaint("key in an error", f"{word} reaches {trace.exchange.who}")


def _told(body: bytes) -> set[str]:
    texts = (text.encode("utf-8", "surrogatepass") for text in said_in_pieces(body))
    return _WRITTEN_SECRETS.found(body).union(*map(_WRITTEN_SECRETS.found, texts))


def _read(trace: Trace) -> set[str]:
    """What is told in an upstream's answer that is damaged, and mended."""
    translation = trace.decision.translation if trace.decision else None
    if translation is None:
        return set()
    decoder = translation.upstream.decoder(lambda: "seed", "upstream", set)
    texts: dict[tuple[type, str], str] = {}
    for event in [*decoder.feed(unpacked(trace.raw)), *decoder.close()]:
        for name in event.__struct_fields__:
            if isinstance(piece := getattr(event, name), str):
                key = (type(event), name)
                texts[key] = texts.get(key, "") + piece
    told = (text.encode("utf-8", "surrogatepass") for text in texts.values())
    return set().union(*map(_WRITTEN_SECRETS.found, told))


# ---- one end ----


def _ends(evidence: Evidence) -> Iterator[Complaint]:
    for text in evidence.left:
        yield Complaint("left", text)
    if evidence.recording:
        yield Complaint("recording", evidence.recording)
    turns = [t for t in evidence.traces if t.admitted]
    for trace in turns:
        rows = evidence.row(trace)
        if len(rows) != 1:
            yield Complaint("rows", f"{len(rows)} rows tell of one turn")
        for row in rows:
            if not (isinstance(row["status"], int) and 100 <= row["status"] < 600):
                yield Complaint("rows", f"the status {row['status']!r}")
    if any(trace.got is None for trace in evidence.traces):
        yield Complaint("rows", "a request without an answer")
    yield from _journal(evidence, {trace.flow.id for trace in turns})
    yield from _counters(evidence)


def _journal(evidence: Evidence, turns: set[str]) -> Iterator[Complaint]:
    path = evidence.folder / "journal.db"
    events: list[tuple[str, str]] = []
    if path.exists():
        with sqlite3.connect(path) as file:
            told = "SELECT kind, subject FROM event WHERE kind IN ('start', 'end', 'lost')"
            events = file.execute(f"{told} ORDER BY rowid").fetchall()
    if {subject for _, subject in events} != turns:
        yield Complaint("journal", "other turns than there were")
    for turn in turns:
        kinds = [kind for kind, subject in events if subject == turn]
        if kinds not in (["end"], ["start", "end"]):
            yield Complaint("journal", f"a turn with the events {kinds}")
    legs: Counter[tuple[str, str]] = Counter()
    for path in evidence.folder.glob("*.flow"):
        for row in map(row_of, flows_of(path)):
            legs[str(row["exchange"]), str(row["leg"])] += 1
    for turn in turns:
        if legs[turn, "client"] != 1 or legs[turn, "upstream"] > 1:
            yield Complaint("journal", f"{legs[turn, 'client']} client legs of a turn")


def _counters(evidence: Evidence) -> Iterator[Complaint]:
    """What was used is counted once."""
    asked = 25 * len(evidence.questions) if evidence.case.scores else 0
    used = [row["usage"] for row in evidence.rows if row["usage"] and row["route"]]
    most = asked + sum(u["input_tokens"] + u["output_tokens"] for u in used)
    totals = {"tokens": 0.0, "turns": 0.0}
    for key, (total, _) in evidence.counted.items():
        if (unit := key.split("|")[2]) in totals:
            totals[unit] += total
    if totals["tokens"] != most:
        yield Complaint("counters", f"{totals['tokens']:.0f} tokens counted, {most} used")
    turns = [t for t in evidence.traces if t.intake and not t.intake.counts]
    sent = [t for t in turns if t.sent]
    if not len(sent) <= totals["turns"] <= len(turns):
        yield Complaint("counters", f"{totals['turns']:.0f} turns counted of {len(turns)}")


# ---- what the client gets ----


def _is_own(body: bytes, raw: bytes) -> bool:
    """Whether ``body`` is an upstream's ``raw`` one, but for the keys in it."""
    pieces = map(re.escape, body.split(b"[redacted]"))
    pattern = re.compile(b".*".join(pieces), re.DOTALL)
    return any(pattern.fullmatch(said) for said in (raw, unpacked(raw)))


def _answers(evidence: Evidence) -> Iterator[Complaint]:
    for trace in evidence.traces:
        got, intake = trace.got, trace.intake
        if got is None or not got.complete or trace.flow.request.method != "POST":
            continue
        protocol = intake.turn.protocol if intake else _protocol(trace.path)
        if protocol is None or (not got.streamed and trace.sent and _is_own(got.body, trace.raw)):
            # An upstream's own answer, which passes as it is.
            continue
        length = headers_of(got.fields).get("content-length")
        if length is not None and length != str(len(got.body)):
            yield Complaint("answer", f"content-length {length} before {len(got.body)} bytes")
        if got.header("content-encoding"):
            got = replace(got, body=unpacked(got.body))
        translation = trace.decision.translation if trace.decision else None
        passes = translation is not None and not translation.translates
        if wrong := wrong_with(protocol, got, counts=COUNT in trace.path, passes=passes):
            kind = "passing answer" if passes else "answer"
            yield Complaint(kind, f"{protocol}, {got.status}: {wrong}")


def _protocol(path: str) -> str | None:
    ends = {"responses": "responses", "compact": "responses", "completions": "chat"}
    ends |= {"messages": "messages", "count_tokens": "messages"}
    return ends.get(path.partition("?")[0].rstrip("/").rpartition("/")[2])
