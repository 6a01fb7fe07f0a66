"""Claude Code's transcripts: a tree of messages, of which one path is the conversation."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from .claude_lines import Block, Line, Node, node
from .claude_requests import Logged
from .lines import DAMAGED, stem
from .types import Recipe, Session, Turns

_line = msgspec.json.Decoder(Line)


def read_claude_code(
    path: Path, lines: Iterable[tuple[int, bytes]], notes: list[str]
) -> list[Session]:
    """The main session of a transcript, then those of its sub-agents as they began."""
    nodes: dict[str, Node] = {}
    logged = Logged()
    for number, raw in lines:
        try:
            line = _line.decode(raw)
            if (line.type or "").startswith("api-request"):
                logged.add(raw)
                continue
            found = node(number, line)
        except DAMAGED as e:
            notes.append(f"line {number}: {e}")
            continue
        if found:
            # A session that was continued in another file begins with copies.
            nodes.setdefault(found.uuid, found)
    name = stem(path)
    families: dict[str, list[Node]] = {"": []}
    for one in nodes.values():
        families.setdefault(_agent(one, nodes), []).append(one)
    sessions: list[Session] = []
    for agent, members in families.items():
        if not any(one.blocks for one in members) and (agent or len(families) > 1):
            continue
        own = not agent or name.endswith(agent)
        if sessions:
            notes = []
        history = _History(logged, notes)
        for one in _path(members, notes):
            history.add(one)
        history.finish()
        called = name if own else f"{name}/{agent}"
        turns = Turns(history.recipes)
        sessions.append(Session(called, str(path), "claude-code", "messages", turns, notes))
    return sessions or [Session(name, str(path), "claude-code", "messages", Turns([]), notes)]


def _agent(one: Node, nodes: dict[str, Node]) -> str:
    """The sub-agent that a line belongs to: its id, or else the id of its first line."""
    if not one.sidechain:
        return ""
    seen = set()
    while not one.agent and one.uuid not in seen:
        seen.add(one.uuid)
        above = nodes.get(one.parent or "")
        if above is None or not above.sidechain:
            break
        one = above
    return one.agent or one.uuid


def _path(nodes: list[Node], notes: list[str]) -> list[Node]:
    """The lines of the conversation: from the last message up to the first, and what belongs to its
    answers although it stands beside it, as the outputs of parallel calls do."""
    by_id = {one.uuid: place for place, one in enumerate(nodes)}
    said = [place for place, one in enumerate(nodes) if one.kind in ("user", "assistant")]
    chosen: set[int] = set()
    at = said[-1] if said else -1
    while at >= 0 and at not in chosen:
        chosen.add(at)
        parent = nodes[at].parent
        if parent is None:
            break
        if parent not in by_id:
            if at:
                notes.append(f"line {nodes[at].number}: the line it answers is missing")
            at -= 1
        else:
            at = by_id[parent]
    answers = {nodes[place].answer for place in chosen if nodes[place].answer}
    chosen |= {place for place in said if nodes[place].answer in answers}
    calls, done = set(), set()
    for place in chosen:
        for block in nodes[place].blocks:
            calls.add(block.id)
            done.add(block.tool_use_id)
    for place in said:
        open_calls = {block.tool_use_id for block in nodes[place].blocks} & (calls - done) - {None}
        if open_calls:
            chosen.add(place)
            done |= open_calls
    left = {nodes[place].answer for place in said if place not in chosen} - {""}
    if left:
        notes.append(f"answers left out, of branches that were given up: {len(left)}")
    return [nodes[place] for place in sorted(chosen)]


class _History:
    """The messages of a conversation as they were sent, and the requests among them."""

    def __init__(self, logged: Logged, notes: list[str]) -> None:
        self.recipes: list[Recipe] = []
        self._logged = logged
        self._notes = notes
        self._past: list[Node] = []
        self._kept: list[Node] = []
        self._messages: list[bytes] = []
        self._system = b""
        #: The answer whose lines are coming, and its blocks.
        self._answer = ""
        self._place: int | None = None
        self._blocks: list[bytes] = []
        self._request: Recipe | None = None
        #: What was said to the model since.
        self._said: list[Block] = []
        self._when: float | None = None
        self._unseen = 0
        self._rebuilt = False

    def add(self, one: Node) -> None:
        """The next line of the conversation."""
        self._past.append(one)
        if one.kind == "boundary":
            self._compact(one)
        elif one.kind == "system":
            self._system = b"[" + one.blocks[0].raw + b"]"
        elif one.kind == "user":
            self._hear(one)
            if one.summary:
                if self._messages:
                    self._start(one)
                for kept in self._kept:
                    if kept.kind == "user":
                        self._hear(kept)
                    elif kept.kind == "assistant":
                        self._speak(kept, counted=False)
                self._kept = []
        elif one.kind == "assistant":
            self._speak(one, counted=True)
        self._unseen += one.unseen

    def finish(self) -> None:
        """After the last line."""
        if self._unseen and self._rebuilt:
            self._notes.append(f"attachments whose text is not in the log: {self._unseen}")

    def _hear(self, one: Node) -> None:
        self._said += one.blocks
        self._when = one.when or self._when

    def _speak(self, one: Node, counted: bool) -> None:
        again = one.place is not None and self._place is not None and one.place <= self._place
        if one.answer != self._answer or again:
            self._close()
            self._answer = one.answer
            self._request = self._asked(one) if counted else None
            if self._request:
                self.recipes.append(self._request)
        self._place = one.place
        self._blocks += [block.raw for block in one.blocks]
        if self._request and one.usage:
            # The first lines of an answer are written before it is whole.
            self._request.usage = one.usage

    def _asked(self, one: Node) -> Recipe:
        """The request that was answered: as it was logged, or rebuilt from the lines before."""
        if one.ref:
            found = self._logged.recipe(one.ref)
            if found:
                return found
            why = "the request was logged, but not all of it can be read; it is rebuilt"
            self._notes.append(f"line {one.number}: {why}")
        self._rebuilt = True
        fields = {"model": msgspec.json.encode(one.model)} if one.model else {}
        if self._system:
            fields["system"] = self._system
        end = len(self._messages)
        return Recipe(fields, "messages", self._messages, end, self._when or one.when)

    def _close(self) -> None:
        """Put the last answer and what was said after it among the messages."""
        if self._blocks:
            self._put(_message(b"assistant", self._blocks))
            self._blocks = []
        if self._said:
            # Claude Code sends outputs before what else there is to say.
            said = sorted(self._said, key=lambda block: block.type != "tool_result")
            written = [block.raw for block in said if not block.attached]
            if written and len(written) < len(said):
                self._logged.learn(_message(b"user", written))
            self._put(_message(b"user", [block.raw for block in said]))
            self._said = []
        self._answer = ""
        self._place = None

    def _put(self, message: bytes) -> None:
        self._messages.append(message)
        self._logged.learn(message)

    def _compact(self, one: Node) -> None:
        self._start(one)
        if one.kept:
            places = {past.uuid: n for n, past in enumerate(self._past)}
            head, tail = (places.get(uuid or "") for uuid in one.kept)
            if head is not None and tail is not None:
                self._kept = self._past[head : tail + 1]

    def _start(self, one: Node) -> None:
        """Another history, from here on; what was said in this line belongs to it."""
        self._notes.append(
            f"line {one.number}: the history was compacted; the request for it is not in the log"
        )
        said = one.blocks if one.kind == "user" else []
        self._messages = []
        self._blocks = []
        self._said = list(said)
        self._answer = ""
        self._place = None


def _message(role: bytes, blocks: list[bytes]) -> bytes:
    return b'{"role":"%s","content":[%s]}' % (role, b",".join(blocks))
