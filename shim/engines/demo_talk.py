"""What the demo model says when there is no bug to hunt: small talk, sums, summaries, one command.

It also does as told in two plain forms, handy for trying a chain out: "run `COMMAND`", and "call
the tool `NAME` with `{JSON}`".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .demo_eval import Machine, Unknown, parse
from .demo_history import Done, Session, ToolCall
from .demo_plan import Reply, next_step

#: How one leaves it.
_LEAVE = (
    "For a real model, set a provider's key, such as OPENROUTER_API_KEY, or choose one: "
    "`interpose model list`, `interpose model use NAME`."
)
_ABOUT = (
    "I am Interpose's offline demo model: a script, no language model. What I can do is find and "
    f"fix one wrong operator in a small repository with a failing test. {_LEAVE}"
)
_HUNT = re.compile(
    r"\b(?:fix|repair|debug|solve)\w*\b|\b(?:bug|broken|red)\b"
    r"|\btests?\b.*\b(?:fail|pass|green)|\bfail\w*\b.*\btests?\b",
    re.I | re.S,
)
#: How much of a request is searched for what it wants.
_READ = 4000
_SUM = re.compile(
    r"(?:^|\b(?:is|what's|calculate|compute) )([(\d][\d .()+*/%-]{1,60}?[\d)])\s*(?:[?=.!]|$)", re.I
)
_RUN = re.compile(r"\b(?:run|execute)\b[^`]*`([^`]+)`", re.I)
_TOOL = re.compile(r"\b(?:call|use)\b[^`]*\btool\b[^`]*`([^`]+)`(?:[^`]*`(\{.*?\})`)?", re.I | re.S)


def answer(session: Session) -> Reply:
    """The reply to a session, whatever it asks."""
    if session.last_user != session.task:
        return Reply("", summary(session))
    if told := _as_told(session):
        return told
    if _HUNT.search(session.task[:_READ]):
        if session.shell:
            step = next_step(session)
            signed = f"{step.text}\n\n(Interpose's offline demo model, a script. {_LEAVE})"
            return step if step.calls else replace(step, text=signed)
        return Reply(
            "", f"{_ABOUT} For that I need a tool that runs commands, and this request offers none."
        )
    return Reply("", _plain(session.task))


def _plain(task: str) -> str:
    if match := _SUM.search(task[:_READ]):
        tree = parse(match[1])
        try:
            node = tree.body[0].value  # type: ignore[union-attr]
            return f"{match[1]} = {Machine([]).value(node)}. ({_ABOUT})"
        except (Unknown, ArithmeticError, AttributeError):
            pass
    hello = "Hello! " if re.search(r"\b(?:hello|hi|hey)\b", task, re.I) else ""
    return f"{hello}{_ABOUT}"


def _as_told(session: Session) -> Reply | None:
    """One command or one tool call, exactly as the user worded it, and what came of it."""
    call: ToolCall | None = None
    if (match := _TOOL.search(session.task)) and (name := _offered(session, match[1])):
        try:
            arguments = json.loads(match[2] or "{}")
        except ValueError:
            return Reply("", f"I was to call `{name}`, but its arguments are no JSON: {match[2]}")
        call = ToolCall(name, arguments)
    elif _HUNT.search(session.task[:_READ]):
        return None
    elif (match := _RUN.search(session.task)) and session.shell:
        call = session.run(match[1])
    if call is None:
        return None
    if not session.calls:
        return Reply(f"The user wants `{call.name}` called; that is all.", "I'll do that.", [call])
    done = session.calls[-1]
    return Reply("", f"`{done.command or call.name}` gave:\n\n```\n{done.text.strip()}\n```")


def _offered(session: Session, name: str) -> str | None:
    return session.tool(name) or session.tool(re.split(r"__|\.|/", name)[-1])


def summary(session: Session) -> str:
    """What was done so far, for a model that goes on without the history."""
    lines = [f"Task: {session.task or 'none yet'}", "", "Done so far:"]
    lines += [f"- {_deed(call)}" for call in session.calls] or ["- nothing"]
    patches = [c for c in session.calls if c.patch and c.ok]
    state = f"{len(patches)} patch(es) applied" if patches else "no file was changed"
    return "\n".join([*lines, "", f"State: {state}. (Written by the offline demo model.)"])


def _deed(call: Done) -> str:
    if call.patch:
        files = re.findall(r"^\*\*\* (?:Update|Add|Delete) File: (.+)$", call.patch, re.M)
        return f"{'patched' if call.ok else 'failed to patch'} {', '.join(files)}"
    if call.command:
        code = call.exit_code
        return f"ran `{call.command}`" + (f", exit code {code}" if code is not None else "")
    return f"called {call.tool}"


def fill(schema: Any, text: str, depth: int = 0) -> Any:
    """A value that fits a JSON schema, with ``text`` for its strings. Where a choice is to be made
    between words, the careful one is taken: this model judges nothing."""
    if not isinstance(schema, Mapping) or depth > 8:
        return text
    if choices := schema.get("enum"):
        careful = [c for c in choices if c in ("deny", "denied", "reject", "high", "unknown", "no")]
        return (careful or choices)[0]
    if "const" in schema:
        return schema["const"]
    for word in ("anyOf", "oneOf", "allOf"):
        if options := schema.get(word):
            return fill(options[0], text, depth + 1)
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties") or {}
        return {name: fill(part, text, depth + 1) for name, part in properties.items()}
    if kind == "array":
        return [fill(schema.get("items"), text, depth + 1)] * int(schema.get("minItems") or 0)
    return {"integer": 0, "number": 0, "boolean": False, "null": None}.get(str(kind), text)
