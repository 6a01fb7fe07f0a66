"""Generated conversations of agents, written down as a client of each protocol sends them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from shim.wire.reasoning import pack

#: Any text that JSON can hold, quotes, line ends and blanks at its borders among it.
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
WORDS = TEXTS.filter(lambda t: t.strip() != "")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
IMAGES = st.sampled_from([f"data:image/png;base64,{data}" for data in ("QUJD", "REVG", "R0hJ")])
#: A part: its kind ("text" or "image") and the text or the image's URL.
PARTS = st.tuples(st.just("text"), WORDS) | st.tuples(st.just("image"), IMAGES)
#: Tools by how a client of Responses declares them: (kind, name, namespace).
TOOLS = (("function", "run", None), ("function", "look_up", "mcp__far"), ("custom", "patch", None))


@dataclass
class Call:
    id: str
    #: Which of TOOLS.
    tool: int
    #: The arguments, or the text a custom tool gets.
    given: Any
    #: A text, or a list of parts.
    output: Any
    failed: bool


@dataclass
class Step:
    asked: list[tuple[str, str]]
    aside: str | None
    #: (owner, readable text, signature): the upstream "up" or another one thought this.
    thought: tuple[str, str, str] | None
    said: str | None
    calls: list[Call]
    #: In which order the outputs of the calls came.
    order: list[int]


@dataclass
class Talk:
    system: str | None
    steps: list[Step]
    fields: dict[str, Any] = field(default_factory=dict)


@st.composite
def talks(draw: st.DrawFn, client: str) -> Talk:
    """A conversation that a client of that protocol can have."""
    steps: list[Step] = []
    kinds = {"responses": [0, 1, 2], "chat": [0, 2], "messages": [0]}[client]
    for n in range(draw(st.integers(1, 3))):
        goes_on = steps and steps[-1].calls
        calls = []
        for c in range(draw(st.integers(0, 3))):
            tool = draw(st.sampled_from(kinds))
            given: Any = draw(TEXTS if tool == 2 else st.dictionaries(TEXTS, VALUES, max_size=3))
            # Chat's API takes no images from tools; Messages' and Responses' do.
            parts = st.lists(PARTS, min_size=1, max_size=3)
            output = draw(TEXTS if client == "chat" else TEXTS | parts)
            failed = client == "messages" and draw(st.booleans())
            calls.append(Call(f"call_{n}_{c}", tool, given, output, failed))
        said = draw(st.none() | WORDS)
        thought = None
        if said or calls:
            owner = st.sampled_from(["up", "else"])
            thought = draw(st.none() | st.tuples(owner, WORDS, st.just(f"c2ln{n}")))
        steps.append(
            Step(
                draw(st.lists(PARTS, min_size=0 if goes_on else 1, max_size=3)),
                draw(st.none() | WORDS) if client != "messages" else None,
                thought,
                said,
                calls,
                draw(st.permutations(range(len(calls)))),
            )
        )
        if not said and not calls:
            break
    return Talk(draw(st.none() | WORDS), steps, draw(_settings(client)))


@st.composite
def _settings(draw: st.DrawFn, client: str) -> dict[str, Any]:
    """Settings under their canonical names, those a client of that protocol has words for."""
    choices: list[Any] = ["auto", "none", "required", {"type": "function", "name": "run"}]
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    form = {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}
    known: dict[str, Any] = {
        "stream": st.booleans(),
        "max_output_tokens": st.integers(20_000, 30_000),
        "temperature": st.sampled_from([0, 0.5, 1]),
        "top_p": st.sampled_from([0.1, 1]),
        "tool_choice": st.sampled_from(choices),
        "parallel_tool_calls": st.just(False),
        "reasoning": st.sampled_from([{"effort": e} for e in ("low", "medium", "high")]),
        "text": st.just({"format": form}),
    }
    if client != "responses":
        known["stop"] = st.just(["END"])
    if client == "messages":
        known["top_k"] = st.just(5)
    if client == "chat":
        known |= {n: st.just(1) for n in ("seed", "presence_penalty", "frequency_penalty")}
        known["logit_bias"] = st.just({"50256": -100})
    return draw(st.fixed_dictionaries({}, optional=known))


def state(protocol: str, text: str, signature: str) -> dict[str, Any]:
    """What an upstream of that protocol wants to see again of a thought."""
    if protocol == "chat":
        return {"reasoning_content": text}
    if protocol == "messages":
        return {"blocks": [{"type": "thinking", "thinking": text, "signature": signature}]}
    summary = [{"type": "summary_text", "text": text}]
    item = {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": signature}
    return {"item": item}


def written(client: str, talk: Talk, upstream: str, indent: int | None = None) -> bytes:
    """The request as a client sends it that has packed thoughts of an ``upstream``."""
    body = _WRITTEN[client](talk, upstream)
    ascii_only = bool(talk.fields.get("stream"))
    return json.dumps({"model": "m", **body}, ensure_ascii=ascii_only, indent=indent).encode()


def _packed(step: Step, upstream: str) -> tuple[str, str] | None:
    if step.thought is None:
        return None
    owner, text, signature = step.thought
    return text, pack(owner, state(upstream, text, signature))


def _responses(talk: Talk, upstream: str) -> dict[str, Any]:
    items: list[Any] = []
    if talk.system:
        items.append({"type": "message", "role": "developer", "content": talk.system})
    for step in talk.steps:
        if step.asked:
            content = [_responses_part(*part) for part in step.asked]
            items.append({"type": "message", "role": "user", "content": content})
        if step.aside:
            part = {"type": "input_text", "text": step.aside}
            items.append({"type": "message", "role": "developer", "content": [part]})
        if packed := _packed(step, upstream):
            summary = [{"type": "summary_text", "text": packed[0]}]
            items.append({"type": "reasoning", "summary": summary, "encrypted_content": packed[1]})
        if step.said:
            part = {"type": "output_text", "text": step.said, "annotations": []}
            items.append({"type": "message", "role": "assistant", "content": [part]})
        outputs = []
        for call in step.calls:
            kind, name, namespace = TOOLS[call.tool]
            head = {"call_id": call.id, "name": name}
            if namespace:
                head["namespace"] = namespace
            family = "custom_tool_call" if kind == "custom" else "function_call"
            given = {"input": call.given} if kind == "custom" else {"arguments": _json(call.given)}
            items.append({"type": family, **head, **given})
            output = call.output
            if not isinstance(output, str):
                output = [_responses_part(*part) for part in output]
            outputs.append({"type": f"{family}_output", "call_id": call.id, "output": output})
        items += [outputs[n] for n in step.order]
    far = [_function(TOOLS[1][1])]
    tools = [
        _function("run"),
        {"type": "namespace", "name": "mcp__far", "description": "", "tools": far},
        {"type": "custom", "name": "patch", "description": "d"},
    ]
    return {"input": items, "tools": tools, **talk.fields}


def _function(name: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    return {"type": "function", "name": name, "description": "d", "parameters": schema}


def _responses_part(kind: str, what: str) -> dict[str, Any]:
    if kind == "text":
        return {"type": "input_text", "text": what}
    return {"type": "input_image", "image_url": what, "detail": "auto"}


def _json(value: Any) -> str:
    return json.dumps(value, indent=1)


def _chat(talk: Talk, upstream: str) -> dict[str, Any]:
    turns: list[Any] = []
    if talk.system:
        turns.append({"role": "system", "content": talk.system})
    for step in talk.steps:
        if step.asked:
            parts = [_chat_part(*part) for part in step.asked]
            turns.append({"role": "user", "content": parts})
        if step.aside:
            turns.append({"role": "system", "content": step.aside})
        said: dict[str, Any] = {"role": "assistant", "content": step.said}
        if packed := _packed(step, upstream):
            entry = {"type": "reasoning.encrypted", "data": packed[1], "format": "interpose"}
            said |= {"reasoning_content": packed[0], "reasoning_details": [entry]}
        if step.calls:
            said["tool_calls"] = [_chat_call(call) for call in step.calls]
        if step.said or step.calls:
            turns.append(said)
        outputs = [
            {"role": "tool", "tool_call_id": call.id, "content": call.output} for call in step.calls
        ]
        turns += [outputs[n] for n in step.order]
    function = _function("run")
    del function["type"]
    tools = [
        {"type": "function", "function": function},
        {"type": "custom", "custom": {"name": "patch", "description": "d"}},
    ]
    fields = dict(talk.fields)
    if "max_output_tokens" in fields:
        fields["max_completion_tokens"] = fields.pop("max_output_tokens")
    if "reasoning" in fields:
        fields["reasoning_effort"] = fields.pop("reasoning")["effort"]
    if form := fields.pop("text", {}).get("format"):
        schema = {k: v for k, v in form.items() if k != "type"}
        fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    if isinstance(fields.get("tool_choice"), dict):
        fields["tool_choice"] = {"type": "function", "function": {"name": "run"}}
    return {"messages": turns, "tools": tools, **fields}


def _chat_part(kind: str, what: str) -> dict[str, Any]:
    if kind == "text":
        return {"type": "text", "text": what}
    return {"type": "image_url", "image_url": {"url": what}}


def _chat_call(call: Call) -> dict[str, Any]:
    kind, name, _ = TOOLS[call.tool]
    if kind == "custom":
        return {"id": call.id, "type": kind, kind: {"name": name, "input": call.given}}
    function = {"name": name, "arguments": _json(call.given)}
    return {"id": call.id, "type": kind, kind: function}


def _messages(talk: Talk, upstream: str) -> dict[str, Any]:
    turns: list[Any] = []
    waiting: list[Any] = []
    for step in talk.steps:
        asked = [*waiting, *(_messages_part(*part) for part in step.asked)]
        turns.append({"role": "user", "content": asked})
        blocks: list[Any] = []
        if packed := _packed(step, upstream):
            blocks.append({"type": "thinking", "thinking": packed[0], "signature": packed[1]})
        if step.said:
            blocks.append({"type": "text", "text": step.said})
        for call in step.calls:
            head = {"type": "tool_use", "id": call.id, "name": TOOLS[call.tool][1]}
            blocks.append({**head, "input": call.given})
        results = []
        for call in step.calls:
            output = call.output
            if not isinstance(output, str):
                output = [_messages_part(*part) for part in output]
            result = {"type": "tool_result", "tool_use_id": call.id, "content": output}
            results.append({**result, **({"is_error": True} if call.failed else {})})
        waiting = [results[n] for n in step.order]
        if blocks:
            turns.append({"role": "assistant", "content": blocks})
    if waiting:
        turns.append({"role": "user", "content": waiting})
    function = _function("run")
    tool = {"name": "run", "description": "d", "input_schema": function["parameters"]}
    fields = dict(talk.fields)
    body: dict[str, Any] = {"messages": turns, "tools": [tool]}
    body["max_tokens"] = fields.pop("max_output_tokens", 20_000)
    if talk.system:
        body["system"] = [{"type": "text", "text": talk.system}]
    if effort := fields.pop("reasoning", {}).get("effort"):
        budget = {"low": 1500, "medium": 8192, "high": 16_000}[effort]
        body["thinking"] = {"type": "enabled", "budget_tokens": budget}
    if "stop" in fields:
        body["stop_sequences"] = fields.pop("stop")
    if form := fields.pop("text", {}).get("format"):
        body["output_config"] = {"format": {"type": "json_schema", "schema": form["schema"]}}
    choice = fields.pop("tool_choice", None)
    one_by_one = fields.pop("parallel_tool_calls", None) is False
    if isinstance(choice, dict):
        body["tool_choice"] = {"type": "tool", "name": "run"}
    elif choice or one_by_one:
        kind = {"required": "any", "none": "none"}.get(choice or "auto", "auto")
        body["tool_choice"] = {"type": kind}
    if one_by_one and body["tool_choice"]["type"] != "none":
        body["tool_choice"]["disable_parallel_tool_use"] = True
    return {**body, **fields}


def _messages_part(kind: str, what: str) -> dict[str, Any]:
    if kind == "text":
        return {"type": "text", "text": what}
    data = what.partition(",")[2]
    source = {"type": "base64", "media_type": "image/png", "data": data}
    return {"type": "image", "source": source}


_WRITTEN: dict[str, Any] = {"responses": _responses, "chat": _chat, "messages": _messages}
