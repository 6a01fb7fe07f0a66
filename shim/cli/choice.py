"""Which model a command begins with where the user names none, and the line that says so.

Only the policy that comes with Interpose leaves that open: the `default` of one's own is a choice.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..codex.catalog import models_of
from ..daemon.use import may_ask
from ..policy.schema import Policy
from ..policy.warn import lacking, variables
from ..route.initial import Choice, initial, instead_of_demo, lacks
from . import UserError
from .chain import DEFAULT_POLICY, Options

#: How another model is chosen: for one session, and for the daemon.
ONCE, DAILY = "--model NAME", "interpose model use NAME"
HELP = (
    "Where nobody names a model, and the policy is the one that comes with Interpose, the first key"
    " that is set chooses: OPENROUTER_API_KEY, OPENAI_API_KEY, DEEPSEEK_API_KEY, GROQ_API_KEY,"
    " MISTRAL_API_KEY, MOONSHOT_API_KEY, ZAI_API_KEY; then Ollama, then LM Studio on this machine"
)
DEMO = f"{HELP}; then it is the offline demo, a script."


def is_shipped(file: Path | str | None) -> bool:
    """Whether the policy at ``file`` is the one that comes with Interpose, byte for byte."""
    if file is None:
        return False
    try:
        return Path(file).read_bytes() == DEFAULT_POLICY.read_bytes()
    except OSError:
        return False


def leaves_open(file: Path | str | None, policy: Policy) -> bool:
    """Whether nobody has chosen a model by the policy: it is ours, and has the demo for default."""
    return is_shipped(file) and instead_of_demo(policy, policy.default) is not None


def for_chain(opts: Options, policy: Policy) -> tuple[Options, str]:
    """The options with the model that is chosen for the user, and a line that says which and why;
    an empty one where the user, or the user's policy, has chosen. UserError for an unknown name."""
    if opts.model:
        if not policy.empty:
            known(opts.model, policy)
        return opts, cannot(policy, opts.model, lacking(policy))
    if opts.intercept or not leaves_open(opts.policy, policy):
        return opts, ""
    choice = initial(policy, os.environ)
    if not choice.demo:
        opts = replace(opts, model=choice.model, chosen=True)
    return opts, line(choice, policy, ONCE)


def line(choice: Choice, policy: Policy, another: str) -> str:
    """What is said of a choice that nobody but Interpose has made; ``another``: how to undo it."""
    how = f"{another}, list: interpose model list"
    if choice.demo:
        anew = " and run `interpose restart`" if another == DAILY else ""
        return (
            f"Model: the offline demo, a script and no language model, since {choice.why};"
            f" set a key, such as {first_key(policy)},{anew} or choose: {how}"
        )
    name = choice.model.removeprefix(f"{choice.provider}:")
    return f"Model: {choice.provider}'s {name}, since {choice.why}; another: {how}"


def first_key(policy: Policy) -> str:
    """A variable that would choose a model."""
    named = (v for provider in policy.providers.values() for v in variables(provider))
    return next(named, "that of a provider")


def cannot(
    policy: Policy, model: str, missing: Mapping[str, list[str]], where: str = "here"
) -> str:
    """That ``model`` cannot answer, and why; empty when nothing is known against it."""
    why = lacks(policy, model, missing)
    return f"{model} cannot answer yet: {' and '.join(why)} {where}" if why else ""


def known(model: str, policy: Policy) -> None:
    """UserError when the policy knows no such model."""
    if may_ask(model, policy):
        return
    import difflib

    names = list(models_of(policy))
    close = difflib.get_close_matches(model, names, 1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names) or 'none'}"
    providers = ", ".join(policy.providers)
    head, colon, _ = model.partition(":")
    if colon and providers:
        hint = f"there is no provider {head}; there are {providers}"
    raise UserError(
        f"the policy has no model {model}; {hint}"
        + ("" if colon else " (PROVIDER:name works, too)")
    )
