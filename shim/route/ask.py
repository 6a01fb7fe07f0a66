"""One question to a model of the policy, whatever its upstream speaks: what auto's classifier is
asked by."""

from __future__ import annotations

import msgspec

from ..codex.login import LoginError
from ..encodings import EncodingError, Limit, received
from ..policy.load import MissingVariable
from ..policy.schema import Policy, Provider
from ..record.redact import Redactor
from ..turn import Usage, WireError
from ..wire.paths import PATHS
from ..wire.protocols import codec
from ..wire.translate import Translation
from . import choose
from .keys import keys_of

#: A score is a few words; what a model thinks before may be many.
_LARGEST = Limit(4 * 1024 * 1024, "4m")


class AskError(Exception):
    """Why there is no answer, in one sentence without keys."""


class Asked(msgspec.Struct, frozen=True):
    """An answer's text, and what it used."""

    text: str
    usage: Usage | None


async def ask(
    policy: Policy,
    name: str,
    body: dict[str, object],
    *,
    timeout: float,
    demo: Provider | None = None,
) -> Asked:
    """The answer of the model ``name`` to a Chat Completions ``body`` that is not streamed.

    ``timeout`` in seconds; ``demo`` is where the demo model listens. AskError when none comes.
    """
    import httpx

    turn = codec("chat").read_request(msgspec.json.encode({"model": name, **body}))
    try:
        route = choose.choose(policy, name)
    except choose.NoRoute as e:
        raise AskError(str(e)) from None
    provider = demo if route.provider == "demo" else policy.providers.get(route.provider)
    if provider is None:
        raise AskError(f"{name}: the target of --mode reverse: cannot be asked by the chain itself")
    try:
        translation = Translation(turn, route, codex=False)
        content = translation.request()
        scheme, host, port, path = choose.address(provider, PATHS[route.protocol])
        headers = choose.headers(provider)
        secrets = Redactor(choose.secrets(provider, headers) | keys_of(policy))
    except WireError as e:
        raise AskError(f"{name}: {e}") from None
    except MissingVariable as e:
        raise AskError(f"{name}: the variable {e.name} is not set") from None
    except LoginError as e:
        raise AskError(f"{name}: {e}") from None
    if route.protocol == "messages":
        headers = {"anthropic-version": "2023-06-01", **headers}
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{path}"
    try:
        async with (
            httpx.AsyncClient(timeout=timeout) as client,
            client.stream(
                "POST",
                url,
                content=content,
                headers={"content-type": "application/json", **headers},
            ) as answer,
        ):
            raw = await received(answer, _LARGEST)
    except EncodingError as e:
        raise AskError(f"{name}: {e}") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as e:
        raise AskError(secrets.text(f"{name}: {type(e).__name__}: {e}".rstrip(": "))) from None
    translator = translation.translator()
    head = answer.status_code, dict(answer.headers)
    made = translation.answer(translator, *head, raw, url)
    failure = made.failure if made else None
    if failure:
        raise AskError(secrets.text(f"{name}: {failure.message}"))
    whole = made.body if made and made.body is not None else raw
    try:
        said = msgspec.json.decode(whole)["choices"][0]["message"].get("content")
    except (msgspec.DecodeError, LookupError, TypeError, AttributeError):
        raise AskError(f"{name}: the answer is no chat completion") from None
    return Asked(said if isinstance(said, str) else "", translator.usage)
