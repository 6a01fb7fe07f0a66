"""The official SDKs against all nine pairs of client and upstream protocol, through a real chain.

The Responses upstream is a second chain before the same model: somebody else's words for the first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import anthropic
import openai
import pytest

from tests.conformance import model
from tests.e2e.chain import Chain
from tests.e2e.upstreams import Answer, Seen, Upstream

PROTOCOLS = ("responses", "chat", "messages")
PAIRS = [(client, upstream) for client in PROTOCOLS for upstream in PROTOCOLS]
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmM"
    "IQAAAABJRU5ErkJggg=="
)
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = {"get_weather": SCHEMA, "get_time": SCHEMA}
FAILS: dict[str, tuple[int, dict[str, str], str]] = {
    "bad": (400, {}, "invalid_request_error"),
    "key": (401, {}, "authentication_error"),
    "gone": (404, {}, "not_found_error"),
    "slow": (429, {"retry-after": "7"}, "rate_limit_error"),
    "down": (500, {}, "api_error"),
    "busy": (529, {"retry-after": "3"}, "overloaded_error"),
}


def _script(answer: Any) -> Any:
    def script(seen: Seen) -> Answer:
        for word, (status, headers, kind) in FAILS.items():
            if b"fail: %b." % word.encode() in seen.body:
                error = {"type": kind, "message": f"told so: {word}"}
                body = json.dumps({"type": "error", "error": error}).encode()
                return Answer(status, {"content-type": "application/json", **headers}, [body])
        made: Answer = answer(seen)
        if b"fail: broken." in seen.body:
            return Answer(made.status, made.headers, made.chunks[:3])
        return made

    return script


@dataclass
class Lab:
    chain: Chain
    upstreams: dict[str, Upstream]

    def asked(self, upstream: str) -> dict[str, Any]:
        """The newest request that reached the model behind ``upstream``, in the words it came."""
        kind = "chat" if upstream == "responses" else upstream
        return dict(self.upstreams[kind].posts()[-1].json())


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with (
        Upstream(_script(model.chat)) as chat,
        Upstream(_script(model.messages)) as messages,
        Chain(chat.url, options={"upstream": "chat"}) as second,
    ):
        entry = "{{ base_url: '{}/v1', protocol: {}, key: any }}"
        urls = {"chat": chat.url, "messages": messages.url, "responses": second.origin}
        lines = ["providers:"]
        lines += [f"  p-{name}: {entry.format(url, name)}" for name, url in urls.items()]
        lines += ["models:", *(f"  {name}: {{ provider: p-{name} }}" for name in urls)]
        with Chain(policy="\n".join(lines)) as chain:
            yield Lab(chain, {"chat": chat, "messages": messages})


@dataclass
class Said:
    text: str
    calls: list[tuple[str, str, Any]]
    thought: str
    tokens: int
    history: list[Any]


def ask(lab: Lab, client: str, upstream: str, turns: list[Any], stream: bool, **more: Any) -> Said:
    """One turn through the SDK of ``client``; ``turns`` are in that protocol's own words."""
    return _ASK[client](lab, upstream, turns, stream, **more)


def _openai(lab: Lab) -> openai.OpenAI:
    return openai.OpenAI(api_key="k", base_url=lab.chain.url, max_retries=0)


def _responses(lab: Lab, upstream: str, turns: list[Any], stream: bool, **more: Any) -> Said:
    fields: dict[str, Any] = {"model": upstream, "input": turns, "store": False}
    if tools := more.get("tools"):
        fields["tools"] = [
            {"type": "function", "name": n, "parameters": s, "strict": False}
            for n, s in tools.items()
        ]
    if more.get("think"):
        fields |= {"reasoning": {"effort": "low"}, "include": ["reasoning.encrypted_content"]}
    if more.get("schema"):
        form = {"type": "json_schema", "name": "place", "schema": SCHEMA, "strict": True}
        fields["text"] = {"format": form}
    sdk = _openai(lab).responses
    if stream:
        with sdk.stream(**fields) as events:
            for _ in events:
                pass
            response: Any = events.get_final_response()
    else:
        response = sdk.create(**fields)
    items = response.output
    return Said(
        response.output_text,
        [(i.call_id, i.name, json.loads(i.arguments)) for i in items if i.type == "function_call"],
        "".join(p.text for i in items if i.type == "reasoning" for p in i.summary),
        response.usage.total_tokens,
        [*turns, *(i.model_dump(exclude_none=True) for i in items)],
    )


def _chat(lab: Lab, upstream: str, turns: list[Any], stream: bool, **more: Any) -> Said:
    fields: dict[str, Any] = {"model": upstream, "messages": turns}
    if tools := more.get("tools"):
        fields["tools"] = [
            {"type": "function", "function": {"name": n, "parameters": s}} for n, s in tools.items()
        ]
    if more.get("think"):
        fields["reasoning_effort"] = "low"
    if more.get("schema"):
        form = {"name": "place", "schema": SCHEMA, "strict": True}
        fields["response_format"] = {"type": "json_schema", "json_schema": form}
    sdk = _openai(lab).chat.completions
    if stream:
        with sdk.stream(stream_options={"include_usage": True}, **fields) as chunks:
            for _ in chunks:
                pass
            completion: Any = chunks.get_final_completion()
    else:
        completion = sdk.create(**fields)
    message = completion.choices[0].message
    calls = message.tool_calls or ()
    plain = {k: v for k, v in message.model_dump(exclude_none=True).items() if k != "parsed"}
    for call in plain.get("tool_calls", ()):
        call["function"].pop("parsed_arguments", None)
        call.pop("index", None)
    return Said(
        message.content or "",
        [(c.id, c.function.name, json.loads(c.function.arguments)) for c in calls],
        getattr(message, "reasoning_content", None) or "",
        completion.usage.total_tokens,
        [*turns, plain],
    )


def _messages(lab: Lab, upstream: str, turns: list[Any], stream: bool, **more: Any) -> Said:
    fields: dict[str, Any] = {"model": upstream, "messages": turns, "max_tokens": 4000}
    if tools := more.get("tools"):
        fields["tools"] = [{"name": n, "input_schema": s} for n, s in tools.items()]
    if more.get("think"):
        fields["thinking"] = {"type": "enabled", "budget_tokens": 1500}
    if more.get("schema"):
        form = {"type": "json_schema", "schema": SCHEMA}
        fields["extra_body"] = {"output_config": {"format": form}}
    sdk = anthropic.Anthropic(api_key="k", base_url=lab.chain.origin, max_retries=0).messages
    if stream:
        with sdk.stream(**fields) as events:
            message: Any = events.get_final_message()
    else:
        message = sdk.create(**fields)
    blocks = message.content
    keep = {"type", "text", "thinking", "signature", "data", "id", "name", "input"}
    said = [{k: v for k, v in b.model_dump(exclude_none=True).items() if k in keep} for b in blocks]
    return Said(
        "".join(b.text for b in blocks if b.type == "text"),
        [(b.id, b.name, b.input) for b in blocks if b.type == "tool_use"],
        "".join(b.thinking for b in blocks if b.type == "thinking"),
        message.usage.input_tokens + message.usage.output_tokens,
        [*turns, {"role": "assistant", "content": said}],
    )


_ASK = {"responses": _responses, "chat": _chat, "messages": _messages}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def results(client: str, calls: list[tuple[str, str, Any]]) -> list[Any]:
    """The outputs of ``calls``, as that client sends them."""
    said = [(call_id, f"{name} of {given['city']}: 21") for call_id, name, given in calls]
    if client == "responses":
        return [{"type": "function_call_output", "call_id": i, "output": t} for i, t in said]
    if client == "chat":
        return [{"role": "tool", "tool_call_id": i, "content": t} for i, t in said]
    blocks = [{"type": "tool_result", "tool_use_id": i, "content": t} for i, t in said]
    return [{"role": "user", "content": blocks}]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_text(lab: Lab, client: str, upstream: str, stream: bool) -> None:
    said = ask(lab, client, upstream, [user('Say exactly "Grüße, 世界"')], stream)
    assert (said.text, said.calls) == ("Grüße, 世界", [])
    assert said.tokens == 22


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_parallel_tools_and_their_outputs(
    lab: Lab, client: str, upstream: str, stream: bool
) -> None:
    question = user("What is the weather and the time in Oslo? Call both tools.")
    said = ask(lab, client, upstream, [question], stream, tools=TOOLS)
    assert [c[1:] for c in said.calls] == [
        ("get_weather", {"city": "Oslo"}),
        ("get_time", {"city": "Oslo"}),
    ]
    turns = [*said.history, *results(client, said.calls)]
    after = ask(lab, client, upstream, turns, stream, tools=TOOLS)
    assert "get_time of Oslo: 21" in after.text
    asked = json.dumps(lab.asked(upstream))
    assert "get_weather of Oslo: 21" in asked and "What is the weather" in asked


#: Two chains in a row mark reasoning alike: the first takes the second's for its own.
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("client", "upstream"), [p for p in PAIRS if p != ("responses",) * 2])
def test_reasoning_is_shown_and_goes_back(
    lab: Lab, client: str, upstream: str, stream: bool
) -> None:
    said = ask(
        lab,
        client,
        upstream,
        [user("What is the weather in Rome?")],
        stream,
        tools=TOOLS,
        think=True,
    )
    assert said.thought == "Let me think." and len(said.calls) == 1
    turns = [*said.history, *results(client, said.calls)]
    ask(lab, client, upstream, turns, stream, tools=TOOLS, think=True)
    back = lab.asked(upstream)["messages"][1]
    if upstream == "messages":
        thought = {"type": "thinking", "thinking": "Let me think.", "signature": "c2lnbmVk"}
        assert back["content"][0] == thought
    else:
        assert back["reasoning_content"] == "Let me think."


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_images_reach_the_model(lab: Lab, client: str, upstream: str) -> None:
    url = f"data:image/png;base64,{PIXEL}"
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    image = {
        "responses": {"type": "input_image", "image_url": url, "detail": "auto"},
        "chat": {"type": "image_url", "image_url": {"url": url}},
        "messages": {"type": "image", "source": source},
    }[client]
    kind = "input_text" if client == "responses" else "text"
    content = [{"type": kind, "text": "What is here?"}, image]
    said = ask(lab, client, upstream, [{"role": "user", "content": content}], False)
    assert said.text == "The image shows a red square."


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_an_answer_in_a_schema(lab: Lab, client: str, upstream: str) -> None:
    said = ask(lab, client, upstream, [user("Where is the tower of Pisa?")], True, schema=True)
    assert json.loads(said.text) == {"city": "Pisa"}


@pytest.mark.parametrize("word", FAILS)
@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_errors_raise_the_right_exception_with_the_providers_words(
    lab: Lab, client: str, upstream: str, word: str
) -> None:
    status, headers, _ = FAILS[word]
    module: Any = anthropic if client == "messages" else openai
    expected = {
        400: module.BadRequestError,
        401: module.AuthenticationError,
        404: module.NotFoundError,
        429: module.RateLimitError,
        500: module.InternalServerError,
        529: module.InternalServerError,
    }[status]
    with pytest.raises(expected) as caught:
        ask(lab, client, upstream, [user(f"fail: {word}.")], stream=True)
    assert caught.value.status_code == status
    assert f"told so: {word}" in str(caught.value)
    if headers:
        assert caught.value.response.headers["retry-after"] == headers["retry-after"]


@pytest.mark.parametrize(("client", "upstream"), [p for p in PAIRS if p[0] != p[1]])
def test_an_answer_that_breaks_off_is_an_error(lab: Lab, client: str, upstream: str) -> None:
    module: Any = anthropic if client == "messages" else openai
    turn = user('Say exactly "one two three four five six" (fail: broken.)')
    if client == "responses":
        # The SDK gives such an end as an event; its helper then has no response to return.
        with pytest.raises((module.APIError, RuntimeError)):
            ask(lab, client, upstream, [turn], stream=True)
    else:
        with pytest.raises(module.APIError) as caught:
            ask(lab, client, upstream, [turn], stream=True)
        assert "broke off" in str(caught.value) or "p-" in str(caught.value)
