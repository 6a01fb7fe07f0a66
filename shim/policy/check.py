"""What a policy says that cannot be meant: references into nothing, patterns that are none, rules
with two actions or none."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import re2

from ..repair.dialects import DIALECTS
from .match import pattern_options
from .read import Where
from .rules import Part
from .schema import BUILT_IN, Policy, Provider
from .types import nearest
from .units import amount, seconds, size
from .variables import VARIABLE, meant

Tell = Callable[[Where, str], None]
_HOURS = re.compile(r"([01]?\d|2[0-3]):[0-5]\d\s*-\s*([01]?\d|2[0-3]):[0-5]\d")
_MASK = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
ACTIONS = ("inject", "replace", "drop", "strip", "cap", "tag", "refuse")
_UNKNOWN_TO_RE2 = (
    ("(?=", "no lookahead"),
    ("(?!", "no lookahead"),
    ("(?<=", "no lookbehind"),
    ("(?<!", "no lookbehind"),
)


def check(policy: Policy, tell: Tell) -> None:
    """Tell everything that keeps ``policy`` from working."""
    _providers(policy, tell)
    _models(policy, tell)
    _agents(policy, tell)
    _catch(policy, tell)
    _dedup(policy, tell)
    _repair(policy, tell)
    _tools(policy, tell)
    _routes(policy, tell)
    _auto(policy, tell)
    _limits(policy, tell)
    _redact(policy, tell)


def _providers(policy: Policy, tell: Tell) -> None:
    for name, provider in policy.providers.items():
        at = ("providers", name)
        if name in BUILT_IN:
            tell(at, "is built in and cannot be defined; rename it")
        if ":" in name:
            tell(at, "a provider's name holds no colon")
        if provider.auth == "chatgpt":
            _login(tell, at, provider)
        elif not provider.base_url:
            tell(at, "the field base_url is missing")
        if not provider.base_url:
            continue
        # A variable may stand for any part of the address.
        url = urlsplit(VARIABLE.sub("x", provider.base_url))
        try:
            usable = bool(url.scheme in ("http", "https") and url.hostname)
            usable = usable or provider.base_url.startswith("${")
            _ = url.port
        except ValueError:
            usable = False
        if not usable:
            variable = meant(provider.base_url)
            hint = f"; for the value of {variable[1]} write ${{{variable[1]}}}" if variable else ""
            tell((*at, "base_url"), f"must be an http:// or https:// address{hint}")
        if url.username or url.password:
            tell((*at, "base_url"), "must not hold a password; use key or headers")
        _unit(tell, (*at, "health", "cooldown"), seconds, provider.health.cooldown)


def _login(tell: Tell, at: Where, provider: Provider) -> None:
    """What a provider may not say that is asked with the ChatGPT login."""
    if provider.protocol != "responses":
        said = "the Codex backend, to which auth: chatgpt leads, speaks responses; write that"
        tell((*at, "protocol"), said)
    if provider.key:
        tell((*at, "key"), "auth: chatgpt takes Codex's own login; leave the key out")


def _agents(policy: Policy, tell: Tell) -> None:
    for name, agent in policy.agents.items():
        at = ("agents", name)
        if name in BUILT_IN or name in policy.providers:
            tell(at, "is the name of a provider; rename it")
        if ":" in name or "/" in name:
            tell(at, "an agent's name holds no colon and no slash")
        if agent.use is None and not agent.command:
            tell(at, "needs a command, or use with one that is known")
        if agent.use is None and not agent.reads:
            tell(at, "needs reads: what the lines it prints say")
        _unit(tell, (*at, "time_limit"), seconds, agent.time_limit)


def _models(policy: Policy, tell: Tell) -> None:
    known = [*policy.providers, *policy.agents, *BUILT_IN]
    for name, model in policy.models.items():
        at = ("models", name)
        if model.provider not in known:
            said = f"no provider {model.provider}{nearest(model.provider, known)}"
            tell((*at, "provider"), said)
        if model.context_window <= 0:
            tell((*at, "context_window"), "must be a number above 0 (tokens)")
        for number, other in enumerate(model.fallbacks):
            _model(policy, tell, (*at, "fallbacks", number), other)
    if cycle := _cycle({name: m.fallbacks for name, m in policy.models.items()}):
        tell(("models", cycle[0], "fallbacks"), f"a cycle: {' → '.join(cycle)}")
    if policy.default is not None:
        _model(policy, tell, ("default",), policy.default, auto=True)


def _cycle(graph: Mapping[str, list[str]]) -> list[str]:
    """A way through ``graph`` that comes back to where it began; empty when there is none."""
    left = {name: {n for n in to if n in graph} for name, to in graph.items()}
    while ends := [name for name, to in left.items() if not to & left.keys()]:
        for name in ends:
            del left[name]
    path: list[str] = []
    here = next(iter(left), None)
    while here is not None and here not in path:
        path.append(here)
        here = next(n for n in graph[here] if n in left)
    return [*path[path.index(here) :], here] if here is not None else []


def _model(
    policy: Policy, tell: Tell, where: Where, name: str, *, auto: bool = False, listed: bool = False
) -> None:
    """``name`` must lead somewhere: a listed model, ``PROVIDER:MODEL``, where it may, auto."""
    head, colon, rest = name.partition(":")
    prefixed = name in policy.agents or (bool(colon and rest) and policy.leads(head))
    virtual = policy.auto is not None and name == policy.auto.name
    if name in policy.models or (prefixed and not listed) or (virtual and auto):
        return
    names = [*policy.models, *([policy.auto.name] if policy.auto and auto else [])]
    tell(where, f"no model {name}{nearest(name, names)}")


def _catch(policy: Policy, tell: Tell) -> None:
    _unique(tell, "catch", [rule.name for rule in policy.catch])
    for number, rule in enumerate(policy.catch):
        at: Where = ("catch", number)
        actions = [name for name in ACTIONS if getattr(rule, name) not in (None, False)]
        if len(actions) != 1:
            said = f"has {' and '.join(actions)}" if actions else "has none"
            tell(at, f"a rule has exactly one of {', '.join(ACTIONS)}; this one {said}")
        _part(tell, (*at, "when"), rule.when)
        if rule.cap is not None:
            _unit(tell, (*at, "cap"), size, rule.cap)
        if inject := rule.inject:
            _one_of(tell, (*at, "inject"), inject, "text", "file")
            for name in set(Part.__struct_fields__) - {"client", "project"}:
                if getattr(rule.when, name) is not None:
                    tell((*at, "when", name), "inject asks for client and project only")
        if replace := rule.replace:
            _one_of(tell, (*at, "replace"), replace, "text", "pattern")
            _words(tell, (*at, "replace"), replace)
            _groups(tell, (*at, "replace", "with"), replace.pattern, replace.with_)
        for name in ("tag", "refuse"):
            if getattr(rule, name) == "":
                tell((*at, name), "must not be empty")


def _dedup(policy: Policy, tell: Tell) -> None:
    if rules := policy.dedup:
        for name in ("min_bytes", "within", "keep_verbatim_below", "blobs_over"):
            _unit(tell, ("dedup", name), size, getattr(rules, name))
        if not rules.roles:
            tell(("dedup", "roles"), "names nobody: leave dedup out instead")


def _repair(policy: Policy, tell: Tell) -> None:
    if rules := policy.repair:
        for name in rules.dialects:
            if name not in DIALECTS:
                tell(("repair", "dialects", name), f"no dialect {name}{nearest(name, DIALECTS)}")
        known = [*policy.providers, *BUILT_IN]
        for name in rules.providers:
            if name not in known:
                tell(("repair", "providers", name), f"no provider {name}{nearest(name, known)}")
        for name in rules.models:
            _model(policy, tell, ("repair", "models", name), name)


def _part(tell: Tell, at: Where, when: Part) -> None:
    _words(tell, at, when)
    least = _unit(tell, (*at, "larger_than"), size, when.larger_than)
    most = _unit(tell, (*at, "smaller_than"), size, when.smaller_than)
    if least is not None and most is not None and least >= most:
        tell(at, "nothing is larger than larger_than and smaller than smaller_than")
    if isinstance(when.position, int) and when.position < 0:
        tell((*at, "position"), "must be a number from 0, or newest")


def _tools(policy: Policy, tell: Tell) -> None:
    names: dict[str, str] = {}
    for name, rule in policy.tools.items():
        at = ("tools", name)
        if rule.remove and (rule.rename or rule.description is not None):
            tell(at, "a tool that is taken away is not renamed or described")
        if not (rule.remove or rule.rename or rule.description is not None):
            tell(at, "says nothing: remove, rename or description")
        if rule.rename:
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", rule.rename):
                tell((*at, "rename"), "a tool's name has letters, digits, _ and - only, at most 64")
            if "*" in name:
                tell((*at, "rename"), "several tools cannot have one name")
            if rule.rename in names:
                tell((*at, "rename"), f"{names[rule.rename]} is renamed to {rule.rename} too")
            names[rule.rename] = name


def _routes(policy: Policy, tell: Tell) -> None:
    _unique(tell, "route", [rule.name for rule in policy.route])
    for number, rule in enumerate(policy.route):
        at: Where = ("route", number)
        to = rule.to
        if isinstance(to, str):
            _model(policy, tell, (*at, "to"), to, auto=True)
        elif isinstance(to, list):
            if not to:
                tell((*at, "to"), "names no model")
            for n, name in enumerate(to):
                _model(policy, tell, (*at, "to", n), name)
        else:
            _one_of(tell, (*at, "to"), to, "split", "round_robin")
            for name, share in to.split.items():
                _model(policy, tell, (*at, "to", "split", name), name)
                if share <= 0:
                    tell((*at, "to", "split", name), "a share is above 0")
            for n, name in enumerate(to.round_robin):
                _model(policy, tell, (*at, "to", "round_robin", n), name)
        when = rule.when
        _words(tell, (*at, "when"), when)
        for name in ("larger_than", "smaller_than"):
            _unit(tell, (*at, "when", name), amount, getattr(when, name))
        for name in ("older_than", "younger_than"):
            _unit(tell, (*at, "when", name), seconds, getattr(when, name))
        if when.hours is not None and not _HOURS.fullmatch(when.hours.strip()):
            tell((*at, "when", "hours"), f"must be such as 22:00-06:00, is {when.hours!r}")


def _auto(policy: Policy, tell: Tell) -> None:
    auto = policy.auto
    if auto is None:
        return
    if auto.name in policy.models:
        tell(("auto", "name"), f"{auto.name} is the name of a model too")
    _model(policy, tell, ("auto", "classifier"), auto.classifier)
    if not auto.candidates:
        tell(("auto", "candidates"), "names no candidate")
    seen: set[str] = set()
    for number, candidate in enumerate(auto.candidates):
        at = ("auto", "candidates", number, "model")
        _model(policy, tell, at, candidate.model, listed=True)
        model = policy.models.get(candidate.model)
        if model is not None and model.price is None:
            tell(at, f"{candidate.model} has no price: auto takes the cheapest that is good enough")
        if candidate.model in seen:
            tell(at, f"{candidate.model} stands here twice")
        seen.add(candidate.model)
    if auto.fallback is not None:
        _model(policy, tell, ("auto", "fallback"), auto.fallback, listed=True)
    _unit(tell, ("auto", "timeout"), seconds, auto.timeout)


def _limits(policy: Policy, tell: Tell) -> None:
    _unique(tell, "limits", [limit.name for limit in policy.limits])
    for number, limit in enumerate(policy.limits):
        at = ("limits", number)
        _one_of(tell, at, limit, "tokens", "money", "requests_per_minute")
        _unit(tell, (*at, "tokens"), amount, limit.tokens)
        if limit.then == "cheaper" and limit.to is None:
            tell(at, "cheaper needs to: the model that answers then")
        elif limit.to is not None and limit.then != "cheaper":
            tell((*at, "to"), f"is for cheaper only, and this limit says {limit.then}")
        elif limit.to is not None:
            _model(policy, tell, (*at, "to"), limit.to)


def _redact(policy: Policy, tell: Tell) -> None:
    _unique(tell, "redact", [rule.name for rule in policy.redact])
    for number, rule in enumerate(policy.redact):
        at: Where = ("redact", number)
        if not _MASK.fullmatch(rule.name):
            said = "has small letters, digits and dashes only: it stands in the mask"
            tell((*at, "name"), f"a name {said}")
        _one_of(tell, at, rule, "use", "pattern", "value", "blobs_over")
        _words(tell, at, rule)
        _unit(tell, (*at, "blobs_over"), size, rule.blobs_over)
        if not rule.places:
            tell((*at, "in"), "names no place: sent, recorded or logged")


def _unique(tell: Tell, section: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for number, name in enumerate(names):
        if name and name in seen:
            tell((section, number, "name"), f"another rule is called {name} too")
        seen.add(name)


def _one_of(tell: Tell, at: Where, holder: Any, *names: str) -> None:
    given = [n for n in names if getattr(holder, n) not in (None, {}, [])]
    if len(given) != 1:
        said = f"has {' and '.join(given)}" if given else "has none"
        tell(at, f"needs exactly one of {', '.join(names)}; this one {said}")


def _words(tell: Tell, at: Where, holder: Any) -> None:
    """``text`` and ``pattern``: not empty, and the pattern one that RE2 takes."""
    if getattr(holder, "text", None) == "":
        tell((*at, "text"), "must not be empty: it would be found everywhere")
    pattern = getattr(holder, "pattern", None)
    if pattern is None:
        return
    try:
        made = re2.compile(pattern, pattern_options())
    except re2.error as e:
        said = str(e.args[0] if e.args else e)
        said = said.strip("b'\"") if said.startswith("b'") else said
        hints = [f"; RE2 has {words}" for mark, words in _UNKNOWN_TO_RE2 if mark in pattern]
        hint = hints[0] if hints else ""
        if re.search(r"\\[1-9]", pattern):
            hint = "; RE2 has no backreferences"
        tell((*at, "pattern"), f"not a pattern: {said}{hint}")
        return
    if made.search("") is not None:
        tell((*at, "pattern"), "matches nothing at all, so it would be found everywhere")


def _groups(tell: Tell, at: Where, pattern: str | None, text: str) -> None:
    """The groups that a replacement names must be there."""
    if pattern is None:
        return
    try:
        groups = re2.compile(pattern, pattern_options()).groups
    except re2.error:
        return
    for found in re.findall(r"\\(\d+)", text):
        if int(found) > groups:
            tell(at, f"the pattern has no group {found}")


def _unit(tell: Tell, at: Where, read: Callable[[Any], Any], value: int | str | None) -> Any:
    if value is None:
        return None
    try:
        return read(value)
    except ValueError as e:
        tell(at, str(e))
        return None
