"""A Chat Completions request, read as the demo model needs it: the task, and what was done for it.

Everything comes out of the messages; nothing is remembered between requests. Tool outputs may be
Codex's (`Process exited with code 1 … Output:`), an older JSON form, or bare text.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: Shell tools by name → the parameter that takes the command, and whether that is a list.
_SHELLS = {
    "exec_command": ("cmd", False),
    "shell_command": ("command", False),
    "shell": ("command", True),
    "bash": ("command", False),
    "Bash": ("command", False),
}
_CODE = re.compile(r"(?:exited with code|[Ee]xit code:) *(-?\d+)")
_RUNNING = re.compile(r"running with session ID (\d+)")
_RED = re.compile(r"\bFAIL|\bnot ok\b|Traceback|\bError\b|\bfailed\b", re.I)
#: What clients say of a call that they did not make.
_REFUSED = re.compile(
    r"\brejected\b|^unsupported call|^aborted|^failed to parse|\bdenied\b"
    r"|this call has no output",
    re.I | re.M,
)
_WRAPPED = re.compile(r"<([a-z]+_[a-z_]+|[A-Z]+)>.*?</\1>", re.S)
#: User messages that the client writes itself.
_NOT_A_TASK = (
    "# AGENTS.md",
    "Another language model started",
    "[images from the tool outputs",
    "[output of the earlier tool call",
    "<turn_aborted",
)


class BadRequest(ValueError):
    """The request is no Chat Completions request; the text says why."""


@dataclass(frozen=True)
class ToolCall:
    """A tool call the model wants: the tool's name as offered, and its arguments."""

    name: str
    arguments: Mapping[str, Any]


@dataclass
class Done:
    """A tool call that was made, with its output ("" while there is none)."""

    tool: str
    arguments: dict[str, Any]
    output: str = ""
    polls: int = 0

    @property
    def command(self) -> str:
        """The shell command, or "" where this was no shell call."""
        parameter, _ = _SHELLS.get(short(self.tool), ("", False))
        value = self.arguments.get(parameter, "")
        return str(value[-1]) if isinstance(value, list) and value else str(value or "")

    @property
    def patch(self) -> str:
        """The patch, or "" where this call applies none."""
        if short(self.tool) == "apply_patch":
            return str(self.arguments.get("input", ""))
        return self.command if self.command.startswith("apply_patch <<") else ""

    @property
    def exit_code(self) -> int | None:
        match = _CODE.search(self._parts()[0])
        return int(match[1]) if match else None

    @property
    def session(self) -> int | None:
        """The session of a command that still runs."""
        match = _RUNNING.search(self._parts()[0])
        return int(match[1]) if match else None

    @property
    def text(self) -> str:
        """What the command printed, without the client's header."""
        return self._parts()[1]

    @property
    def refused(self) -> bool:
        """Whether the call was not made at all: not allowed, no such tool or program."""
        code = self.exit_code
        if code is None:
            return not self.output.strip() or bool(_REFUSED.search(self.output))
        return code in (126, 127)

    @property
    def ok(self) -> bool:
        """Whether the command (or the patch) succeeded, as far as the output tells."""
        if self.refused:
            return False
        if self.patch:
            return "success" in self.output.lower() and self.exit_code in (0, None)
        code = self.exit_code
        return code == 0 if code is not None else not _RED.search(self.output)

    def _parts(self) -> tuple[str, str]:
        """The client's header and the printed text."""
        if self.output.startswith('{"output"'):
            try:
                value = json.loads(self.output)
                code = value.get("metadata", {}).get("exit_code")
                return f"Exit code: {code}", str(value["output"])
            except (ValueError, AttributeError):
                pass
        head, mark, body = ("\n" + self.output).partition("\nOutput:\n")
        if mark and re.search(r"^(?:Wall time|Exit code|Process )", head, re.M):
            return head, body
        return "", self.output


@dataclass
class Session:
    """What a request says: the last task, the calls made for it, the tools on offer."""

    task: str = ""
    calls: list[Done] = field(default_factory=list)
    last_user: str = ""
    tools: dict[str, str] = field(default_factory=dict)
    summarised: bool = False

    def tool(self, name: str) -> str | None:
        """The offered name of a tool, found by its own name or the last part of a longer one."""
        return self.tools.get(name)

    @property
    def shell(self) -> str | None:
        return next((self.tools[n] for n in _SHELLS if n in self.tools), None)

    def run(self, command: str) -> ToolCall:
        """The call that runs ``command``; only where there is a `shell`."""
        name = self.shell or ""
        parameter, as_list = _SHELLS[short(name)]
        return ToolCall(name, {parameter: ["bash", "-lc", command] if as_list else command})

    def patched(self, patch: str) -> ToolCall:
        """The call that applies ``patch``: the tool where there is one, else by the shell."""
        if name := self.tool("apply_patch"):
            return ToolCall(name, {"input": patch})
        return self.run(f"apply_patch <<'PATCH'\n{patch}PATCH\n")

    def ran(self, command: str) -> list[Done]:
        """Every time ``command`` was run, the oldest first."""
        return [c for c in self.calls if c.command == command]


def short(name: str) -> str:
    """`exec_command` for `functions__exec_command` and `functions.exec_command`."""
    return re.split(r"__|\.|/", name)[-1]


def content_text(content: Any) -> str:
    """The text of a message's content, a string or a list of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(str(p.get("text", "")) for p in content if isinstance(p, dict))


def read(request: Any) -> Session:
    """The session a request describes. Raises BadRequest."""
    if not isinstance(request, Mapping):
        raise BadRequest("the body must be a JSON object")
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("'messages' must be a list with at least one message")
    if not all(isinstance(m, Mapping) and isinstance(m.get("role"), str) for m in messages):
        raise BadRequest("each of 'messages' must be an object with a role")
    session = Session(tools=_tools(request))
    waiting: defaultdict[str, deque[Done]] = defaultdict(deque)
    for message in messages:
        role = message["role"]
        if role == "user":
            _user(session, content_text(message.get("content")))
        elif role == "assistant":
            for call in message.get("tool_calls") or ():
                done = _done(call)
                session.calls.append(done)
                waiting[str(call.get("id"))].append(done)
        elif role == "tool" and (queue := waiting[str(message.get("tool_call_id"))]):
            queue.popleft().output = content_text(message.get("content"))
    session.calls = _joined(session.calls)
    return session


def _tools(request: Mapping[str, Any]) -> dict[str, str]:
    offered: dict[str, str] = {}
    tools = request.get("tools") or ()
    if request.get("tool_choice") == "none" or not isinstance(tools, Sequence):
        return offered
    for tool in tools:
        name = (tool.get("function") or {}).get("name") if isinstance(tool, Mapping) else None
        if isinstance(name, str):
            offered.setdefault(short(name), name)
            offered.setdefault(name, name)
    return offered


def _user(session: Session, text: str) -> None:
    said = _WRAPPED.sub("", text).strip()
    if text.startswith("Another language model started"):
        session.summarised = True
    if said.startswith("# AGENTS.md"):
        # The instructions themselves are wrapped; what a client put behind them is the task.
        said = said.partition("\n")[2].strip()
    if not said or said.startswith(_NOT_A_TASK):
        return
    session.last_user = said
    if not is_summary_request(said):
        session.task = said
        session.calls = []
        session.summarised = False


def is_summary_request(text: str) -> bool:
    """Whether a client asks for a summary to go on from (Codex: context compaction)."""
    return "CONTEXT CHECKPOINT COMPACTION" in text or bool(
        re.match(r"(?:please )?(?:summari[sz]e|create a (?:\w+ )?summary)\b", text, re.I)
    )


def _done(call: Any) -> Done:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        raise BadRequest("each tool call needs a function")
    try:
        arguments = json.loads(function.get("arguments") or "{}")
    except ValueError:
        arguments = {}
    return Done(str(function.get("name")), arguments if isinstance(arguments, dict) else {})


def _joined(calls: list[Done]) -> list[Done]:
    """What later polls of a running command brought becomes part of that command's output."""
    joined: list[Done] = []
    for call in calls:
        if short(call.tool) == "write_stdin":
            session = call.arguments.get("session_id")
            owner = next((c for c in reversed(joined) if c.session == session), None)
            if owner is not None:
                head, _, _ = call.output.partition("\nOutput:\n")
                owner.output = f"{head}\nOutput:\n{owner.text}{call.text}"
                owner.polls += 1
                continue
        joined.append(call)
    return joined
