"""Faults that are known and mended elsewhere: which cases fail for now, and where the fault is.

A case that is listed here and passes fails its test, so that the line is taken out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

#: (protocol, name of the case, model it goes to): patterns, and the place of the fault.
Known = tuple[str, str, str, str]

_ANY = ".*"
_OTHERS = "to-(chat|messages)"
#: Bodies that only break where somebody has to read on: each a 500 in place of a 400.
BODIES: Sequence[Known] = [
    (_ANY, "bytes UTF-8 (broken in a (text|role)|cut in a text|overlong|surrogate)", _ANY, "shim/prompt/elements.py: Element reads an item that is not UTF-8"),
    ("responses|chat", "bytes UTF-8 broken in a field", "to-messages", "shim/wire/messages/write_request.py: a setting that is not UTF-8"),
    ("responses", "bytes UTF-8 broken in a field", "to-chat", "shim/wire/responses/write_echo.py: a setting that is not UTF-8"),
    (_ANY, "bytes UTF-8 broken in a model", _ANY, "shim/turn.py: Turn reads a model that is not UTF-8"),
    ("responses", "bytes 1e999", _OTHERS, "shim/turn.py: setting of a number that is too large"),
    ("chat", "bytes 1e999", "to-(responses|messages)", "shim/turn.py: setting of a number that is too large"),
    ("messages", "bytes 1e999", "to-(responses|chat)", "shim/turn.py: setting of a number that is too large"),
    (_ANY, "bytes (-1e999|huge integer) in an item", _ANY, "shim/prompt/elements.py: Element reads a number that is too large"),
    ("responses|chat", "bytes depth (100|500|900)", "to-messages", "shim/wire/messages/write_request.py: metadata that is no object"),
    ("responses|chat", "value metadata is ('x'|\\[None\\]|-1)", "to-messages", "shim/wire/messages/write_request.py: metadata that is no object"),
    ("responses|chat", "value temperature is ('x'|\\[None\\]|{'a': \\[1\\]})", "to-messages", "shim/wire/messages/write_request.py: a temperature that is no number"),
    ("responses", "value reasoning is ('x'|\\[None\\]|-1)", _OTHERS, "shim/prompt/effort.py: reasoning that is no object"),
    ("chat", "value max_tokens is ('x'|\\[None\\]|{'a': \\[1\\]})", "to-responses", "shim/wire/responses/write_request.py: max_tokens that is no number"),
]  # fmt: skip

_SEES = "shim/prompt/elements.py: rules look at named places only"
_MASKS = "shim/prompt/strings.py: strings that are not masked"
_TOOLS = "shim/prompt/edit.py: rules do not look at tools and settings"
_TWICE = "shim/wire/fields.py: of a key that comes twice only the last one is looked at"
#: Answers of providers: the client, the name of the case, its provider's protocol and how it answers.
ANSWERS: Sequence[Known] = [
]  # fmt: skip
#: Where the phrase or the key of a planted request is not seen, and goes to the provider: protocol,
#: what is planted and the models that it goes to, each with its places.
PLACES: dict[tuple[str, str, str], str] = {
    ("chat", "key at", "to-chat"): "functions.0.description; functions.0.parameters.properties.a.description; messages.2.name; messages.9.annotations.0.url_citation.url; novel_setting.a.0; prediction.content; web_search_options.user_location.approximate.city",
    ("chat", "key at", "to-chat|to-messages"): "stop.0",
    ("chat", "key at", "to-chat|to-messages|to-responses"): "messages.2.content.1.image_url.url; response_format.json_schema.schema.properties.a.description; tools.0.function.description; tools.0.function.parameters.properties.a.description; tools.1.custom.description",
    ("chat", "key at", "to-chat|to-responses"): "response_format.json_schema.description",
    ("chat", "key in the", "same-chat"): "first conversation of two",
    ("chat", "key in the", "same-chat|to-chat"): "first content of two; first part of two",
    ("chat", "phrase at", "to-chat"): "functions.0.description; functions.0.parameters.properties.a.description; messages.2.content.3.deep.a.0; messages.2.content.3.deep.a.1.b; messages.2.content.3.value; messages.2.name; messages.3.novel.a; messages.4.reasoning_content; messages.9.annotations.0.url_citation.title; messages.9.annotations.0.url_citation.url; novel_setting.a.0; prediction.content; web_search_options.user_location.approximate.city",
    ("chat", "phrase at", "to-chat|to-messages"): "stop.0",
    ("chat", "phrase at", "to-chat|to-messages|to-responses"): "messages.2.content.1.image_url.url; messages.4.refusal; messages.7.content.0.refusal; messages.7.function_call.arguments; response_format.json_schema.schema.properties.a.description; tools.0.function.description; tools.0.function.parameters.properties.a.description; tools.1.custom.description",
    ("chat", "phrase at", "to-chat|to-responses"): "messages.2.content.2.file.filename; response_format.json_schema.description",
    ("chat", "phrase in the", "same-chat"): "first conversation of two",
    ("chat", "phrase in the", "same-chat|to-chat"): "first content of two; first part of two",
    ("messages", "key at", "to-messages"): "messages.1.content.1.source.url; messages.1.content.2.source.data; messages.1.content.4.source.url; messages.2.content.1.input.b.@@.name; messages.2.content.3.content.0.url; messages.3.content.0.content.2.source.data; novel_setting.a.0; stop_sequences.0; tools.0.description; tools.0.input_schema.properties.a.description; tools.1.user_location.city",
    ("messages", "key in the", "same-messages"): "first conversation of two",
    ("messages", "key in the", "same-messages|to-messages"): "first content of two; first part of two",
    ("messages", "phrase at", "to-messages"): "messages.1.content.1.source.url; messages.1.content.2.context; messages.1.content.2.source.data; messages.1.content.2.title; messages.1.content.3.source.content.0.text; messages.1.content.4.source.url; messages.1.content.5.content.0.text; messages.1.content.5.source; messages.1.content.5.title; messages.1.content.6.deep.a.0; messages.1.content.6.deep.a.1.b; messages.1.content.6.text; messages.1.content.6.value; messages.2.content.0.citations.0.cited_text; messages.2.content.0.citations.0.document_title; messages.2.content.2.input.query; messages.2.content.3.content.0.page_age; messages.2.content.3.content.0.title; messages.2.content.3.content.0.url; messages.2.content.4.input.a; messages.2.content.5.content.0.text; messages.2.content.6.content.stderr; messages.2.content.6.content.stdout; messages.3.content.0.content.1.content.0.text; messages.3.content.0.content.1.source; messages.3.content.0.content.1.title; messages.3.content.0.content.2.context; messages.3.content.0.content.2.source.data; messages.3.content.0.content.2.title; novel_setting.a.0; stop_sequences.0; tools.0.description; tools.0.input_schema.properties.a.description; tools.1.user_location.city",
    ("messages", "phrase in the", "same-messages"): "first conversation of two",
    ("messages", "phrase in the", "same-messages|to-messages"): "first content of two; first part of two",
    ("responses", "key at", "to-chat|to-messages|to-responses"): "input.1.content.1.image_url; text.format.schema.properties.a.description; tools.0.description; tools.0.parameters.properties.a.description; tools.1.description; tools.1.format.definition; tools.2.tools.0.description; tools.2.tools.0.parameters.properties.a.description",
    ("responses", "key at", "to-responses"): "input.21.name; input.3.content.0.annotations.0.url; novel_setting.a.0; prompt.variables.a; tools.2.description",
    ("responses", "key in the", "same-responses"): "first conversation of two",
    ("responses", "key in the", "same-responses|to-responses"): "first content of two; first part of two",
    ("responses", "phrase at", "to-chat|to-messages|to-responses"): "input.1.content.1.image_url; input.11.action.command.1; input.11.action.env.A; input.12.output; input.13.operation.diff; input.13.operation.path; input.14.output; input.3.content.1.refusal; text.format.schema.properties.a.description; tools.0.description; tools.0.parameters.properties.a.description; tools.1.description; tools.1.format.definition; tools.2.tools.0.description; tools.2.tools.0.parameters.properties.a.description",
    ("responses", "phrase at", "to-responses"): "input.1.content.2.file_url; input.1.content.2.filename; input.1.content.3.deep.a.0; input.1.content.3.deep.a.1.b; input.1.content.3.value; input.15.action.query; input.16.queries.0; input.16.results.0.filename; input.16.results.0.text; input.17.code; input.17.outputs.0.logs; input.18.arguments; input.18.error; input.18.output; input.19.tools.0.description; input.20.author; input.20.content.0.text; input.21.content; input.21.deep.0.a.b.0; input.21.name; input.21.text; input.22.tools.0.description; input.22.tools.0.parameters.properties.a.description; input.3.content.0.annotations.0.title; input.3.content.0.annotations.0.url; input.4.content.0.text; input.4.summary.0.text; input.8.output.1.say; novel_setting.a.0; prompt.variables.a; tools.2.description",
    ("responses", "phrase in the", "same-responses"): "first conversation of two",
    ("responses", "phrase in the", "same-responses|to-responses"): "first content of two; first part of two",
}  # fmt: skip
_BY_TOOLS = "shim/prompt/edit.py: rules look neither at tools nor at settings"
_BY_TWO = "shim/wire/fields.py: of a key that comes twice only the last one is looked at"
_BY_PLACE = {
    "phrase": "shim/prompt/elements.py: rules look at named places of an item only",
    "key": "shim/prompt/strings.py: not every string of an item is masked",
}
_CONVERSATION = ("input.", "messages.")


def mark(
    known: Sequence[Known], protocol: str, name: str, model: str
) -> list[pytest.MarkDecorator]:
    """The mark of a case: none where it has to hold."""
    for protocols, names, models, place in known:
        pairs = ((protocols, protocol), (names, name), (models, model))
        if all(re.fullmatch(pattern, text) for pattern, text in pairs):
            return [pytest.mark.xfail(reason=place, strict=True)]
    return []


def mark_place(protocol: str, name: str, model: str) -> list[pytest.MarkDecorator]:
    """The mark of a planted request."""
    for (protocols, planted, models), places in PLACES.items():
        if protocols != protocol or model not in models.split("|"):
            continue
        if name in [f"{planted} {place}" for place in places.split("; ")]:
            what, _, place = name.partition(" at ")
            reason = _BY_PLACE.get(what, _BY_TWO)
            if place and not place.startswith(_CONVERSATION):
                reason = _BY_TOOLS
            return [pytest.mark.xfail(reason=reason, strict=True)]
    return []
