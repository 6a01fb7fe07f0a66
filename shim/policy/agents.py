"""The types of a policy's agents: command-line programs that answer as if they were models."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .rules import Some


class Read(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What one kind of line says. A path is names with dots between; a list gives all it holds.

    The first entry whose ``when`` holds reads the line.
    """

    when: Annotated[
        dict[str, str | int | bool | None],
        Meta(description="What stands at which path; null for nothing."),
    ] = {}
    session: Annotated[str | None, Meta(description="Where its name for the session is.")] = None
    text: Annotated[str | None, Meta(description="Where a piece of the answer is.")] = None
    reasoning: Annotated[str | None, Meta(description="Where a piece of thinking is.")] = None
    activity: Annotated[str | None, Meta(description="Where it says what tool it uses.")] = None
    error: Annotated[str | None, Meta(description="Where it says why it failed.")] = None
    whole: Annotated[
        str | None, Meta(description="Where the whole answer is, for when no piece came.")
    ] = None
    input_tokens: Annotated[str | None, Meta(description="Where the input's tokens are.")] = None
    cached_tokens: Annotated[str | None, Meta(description="Where the cached part of them is.")] = (
        None
    )
    output_tokens: Annotated[str | None, Meta(description="Where the output's tokens are.")] = None
    ends: Annotated[bool, Meta(description="Whether the turn ends with it.")] = False


class Agent(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A program that works on a turn by itself and says what comes of it."""

    use: Annotated[
        Literal["codex", "cursor"] | None,
        Meta(description="One that is known: what is not said here is as it needs it."),
    ] = None
    command: Annotated[
        list[str],
        Meta(description="Its command line; it prints a JSON object per line."),
    ] = []
    prompt: Annotated[
        Literal["stdin", "argument"],
        Meta(description="How it gets the prompt: to read, or as its last argument."),
    ] = "stdin"
    model: Annotated[
        list[str], Meta(description="Words that choose a model; {model} is its name.")
    ] = []
    effort: Annotated[
        list[str], Meta(description="Words that choose an effort; {effort} is its name.")
    ] = []
    resume: Annotated[
        list[str], Meta(description="Words that go on with a session; {session} is its name.")
    ] = []
    image: Annotated[
        list[str], Meta(description="Words that show an image: {path} is its file, in {folder}.")
    ] = []
    reads: Annotated[list[Read], Meta(description="What its lines say.")] = []
    ready: Annotated[
        list[str], Meta(description="A command that succeeds while the agent can be used.")
    ] = []
    ready_says: Annotated[
        str | None, Meta(description="Text that it then prints, in small or large letters.")
    ] = None
    login: Annotated[str, Meta(description="What to do when it is not ready.")] = ""
    models: Annotated[
        list[str], Meta(description="Models that it offers; Codex is asked for its own.")
    ] = []
    env: Annotated[
        dict[str, str],
        Meta(description="Variables it gets besides the chain's; an empty one is taken away."),
    ] = {}
    cwd: Annotated[
        str | None, Meta(description="The folder it works in; an empty one of its own if not said.")
    ] = None
    sandbox: Annotated[
        Literal["read-only", "workspace-write", "danger-full-access"],
        Meta(description="Codex: what its commands may change."),
    ] = "read-only"
    network: Annotated[bool, Meta(description="Codex: whether its commands reach the network.")] = (
        False
    )
    web_search: Annotated[bool, Meta(description="Codex: whether it searches the web.")] = False
    approval: Annotated[
        Literal["never", "on-request", "untrusted"],
        Meta(description="Codex: when it asks before a command; asked, the chain declines."),
    ] = "never"
    git_check: Annotated[
        bool, Meta(description="Codex: refuse to write in a folder that is in no git repository.")
    ] = True
    activity: Annotated[
        Literal["reasoning", "hide"],
        Meta(description="Whether what it does shows as reasoning, or not at all."),
    ] = "reasoning"
    require_session: Annotated[bool, Meta(description="Refuse requests that name no session.")] = (
        False
    )
    images_from: Annotated[
        str | None, Meta(description="The folder whose image files requests may name.")
    ] = None
    slots: Annotated[Some, Meta(description="How many turns it works on at a time.")] = 4
    queue: Annotated[
        int, Meta(description="How many more may wait; beyond that they are refused.", ge=0)
    ] = 32
    time_limit: Annotated[
        int | str, Meta(description="How long a turn may take, waiting not counted.")
    ] = "15m"
