"""Whole conversations on their way to an upstream: every text, call, output, image and setting is
there in its place, or named in a note; and a thought goes back to who thought it, to nobody else."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shim.route.choose import Route
from shim.turn import Turn, text_of, value_of
from shim.wire.protocols import codec
from shim.wire.reasoning import pack
from shim.wire.translate import Translation
from tests.unit.conversations import TOOLS, Talk, state, talks, written

pytestmark = pytest.mark.slow

PROTOCOLS = ("responses", "chat", "messages")
PAIRS = [(c, u) for c in PROTOCOLS for u in PROTOCOLS if c != u]
#: What the chain itself adds to texts where a protocol has no other word.
ADDED = (
    "<system-reminder>",
    "</system-reminder>",
    "[images from the tool outputs above]",
)


@dataclass
class Gap:
    """What stands before an answer of the model, and the answer."""

    outputs: dict[str, str] = field(default_factory=dict)
    shown: dict[str, list[str]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    texts: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    thoughts: list[tuple[str, str]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    calls: list[tuple[str, str, Any]] = field(default_factory=list)

    @property
    def answered(self) -> bool:
        return bool(self.said or self.calls or self.thoughts)


def translated(client: str, upstream: str, body: bytes) -> Translation:
    turn = codec(client).read_request(body)
    return Translation(turn, Route("up", upstream, "m", "m", "t"), codex=False)  # type: ignore[arg-type]


def gaps(turn: Turn) -> list[Gap]:
    """A turn as its reader understands it."""
    first = turn.setting("instructions")
    found = [Gap(texts=[first] if first else [])]
    for item in turn.items:
        kind = item.type
        own = kind in ("reasoning", "function_call", "custom_tool_call")
        own = own or (kind == "message" and item.role == "assistant")
        if not own and found[-1].answered:
            found.append(Gap())
        gap = found[-1]
        if kind == "message":
            texts, images = parts(item.content)
            (gap.said if own else gap.texts).extend(texts)
            gap.images += images
        elif kind == "reasoning":
            gap.thoughts.append((parts(item.summary)[0][0], value_of(item.encrypted_content)))
        elif own:
            custom = kind == "custom_tool_call"
            given = text_of(item.input) if custom else json.loads(text_of(item.arguments))
            name = f"{item.namespace}__{item.name}" if item.namespace else item.name
            gap.calls.append((str(item.call_id), str(name), {"input": given} if custom else given))
        else:
            assert kind in ("function_call_output", "custom_tool_call_output")
            texts, images = parts(item.output)
            assert item.call_id and item.call_id not in gap.outputs
            gap.outputs[item.call_id] = "\n".join(texts)
            gap.shown[item.call_id] = images
            if item.failed:
                gap.failed.add(item.call_id)
    return found


def parts(content: msgspec.Raw) -> tuple[list[str], list[str]]:
    """(texts, URLs of images)."""
    value = msgspec.json.decode(content)
    listed = [{"text": value}] if isinstance(value, str) else value
    texts = [p["text"] for p in listed if "text" in p]
    return texts, [p["image_url"] for p in listed if "image_url" in p]


def expected(talk: Talk, upstream: str) -> list[Gap]:
    found = [Gap(texts=[talk.system] if talk.system else [])]
    for step in talk.steps:
        if found[-1].answered:
            found.append(Gap())
        gap = found[-1]
        gap.texts += [what for kind, what in step.asked if kind == "text"]
        gap.texts += [step.aside] if step.aside else []
        gap.images += [what for kind, what in step.asked if kind == "image"]
        if step.thought and step.thought[0] == "up":
            _, text, signature = step.thought
            gap.thoughts.append((text, signature))
        gap.said += [step.said] if step.said else []
        after = Gap()
        for call in step.calls:
            kind, name, namespace = TOOLS[call.tool]
            given_ = {"input": call.given} if kind == "custom" else call.given
            flat = f"{namespace}__{name}" if namespace else name
            gap.calls.append((call.id, flat, given_))
            listed = [("text", call.output)] if isinstance(call.output, str) else call.output
            after.outputs[call.id] = "\n".join(w for k, w in listed if k == "text")
            images = [what for kind, what in listed if kind == "image"]
            # Chat has no place for an image in an output: they follow the outputs.
            after.images += images if upstream == "chat" else []
            after.shown[call.id] = [] if upstream == "chat" else images
            after.failed |= {call.id} if call.failed else set()
        if step.calls:
            found.append(after)
    return found


def holds(text: str, texts: list[str]) -> None:
    """That ``text`` is the ``texts`` in order, with nothing but blanks and marks around them."""
    at, rest = 0, ""
    text, *texts = (_unmarked(t) for t in (text, *texts))
    for one in texts:
        if one.strip():
            found = text.find(one, at)
            assert found >= 0, (one, text)
            rest, at = rest + text[at:found], found + len(one)
    assert not (rest + text[at:]).strip(), (text, texts)


def _unmarked(text: str) -> str:
    for mark in ADDED:
        text = text.replace(mark, "")
    return text


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_all_that_was_said_reaches_the_upstream_in_its_place(
    client: str, upstream: str, data: st.DataObject
) -> None:
    talk = data.draw(talks(client))
    made = translated(client, upstream, written(client, talk, upstream))
    body = made.request()
    for owner, text, signature in filter(None, (step.thought for step in talk.steps)):
        assert pack(owner, state(upstream, text, signature)).encode() not in body
    got, wanted = gaps(codec(upstream).read_request(body)), expected(talk, upstream)
    for gap, want in zip(got, wanted, strict=True):
        holds("\n".join(gap.texts), want.texts)
        assert (gap.images, gap.shown) == (want.images, want.shown)
        holds("\n".join(gap.said), want.said)
        assert [c[:2] for c in gap.calls] == [c[:2] for c in want.calls]
        assert [c[2] for c in gap.calls] == [c[2] for c in want.calls]
        assert gap.outputs.keys() == want.outputs.keys()
        for call_id, output in gap.outputs.items():
            told = call_id in want.failed and upstream != "messages"
            assert output.startswith("[error]") or not told
            holds(output.removeprefix("[error]" if told else ""), [want.outputs[call_id]])
        thoughts = [(text, signature or "") for text, signature in gap.thoughts]
        assert thoughts == [(t, "" if upstream == "chat" else s) for t, s in want.thoughts]
        if upstream == "messages":
            assert gap.failed == want.failed


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_setting_reaches_the_upstream_or_is_named(
    client: str, upstream: str, data: st.DataObject
) -> None:
    talk = data.draw(talks(client))
    made = translated(client, upstream, written(client, talk, upstream))
    got = codec(upstream).read_request(made.request())
    for name, value in talk.fields.items():
        if name == "text":
            value = value["format"]["schema"]
            there = (got.setting("text") or {}).get("format", {}).get("schema")
        elif name == "reasoning":
            there = {"effort": (got.setting("reasoning") or {}).get("effort")}
        else:
            there = got.setting(name)
        said = any(name in note for note in made.notes)
        # Where nobody may call, there are no parallel calls either; auto is what all begin with.
        nothing = (name, value) in (("parallel_tool_calls", False), ("tool_choice", "auto"))
        nothing = nothing and (there is None or talk.fields.get("tool_choice") == "none")
        assert there == value or said or nothing, (name, value, there, made.notes)
    names = {name for _, name, _ in TOOLS}
    offered = {t["name"].removeprefix("mcp__far__") for t in got.tools}
    assert offered == names & {t.name for t in made.bridge.offered.values()}


@pytest.mark.parametrize("client", PROTOCOLS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_the_same_protocol_on_both_sides_keeps_every_byte(client: str, data: st.DataObject) -> None:
    talk = data.draw(talks(client))
    for step in talk.steps:
        step.thought = None
    body = written(client, talk, client, data.draw(st.sampled_from([None, 0, 3])))
    assert translated(client, client, body).request() == body
