"""The demo model's next step in a bug hunt, from what the session shows so far.

The steps: look around, run the test and read it, read the suspected sources, patch, run the test
again; while it stays red, take the attempt back and try the next likely edit; then report. Each
step is found again by its own command or patch in the history, so nothing needs remembering.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from .demo_edits import Edit, edits, patch
from .demo_eval import parse
from .demo_failures import checks, failures
from .demo_history import Done, Session, ToolCall

LIST = "git ls-files -co --exclude-standard 2>/dev/null || find . -type f -not -path '*/.*'"
README = "cat README.md"
MAX_POLLS = 30
_MAX_SOURCES = 4

_CODE_FILE = re.compile(r"\.(?:py|sh|bash|js|mjs|cjs|ts|go|rs|c|java|rb)$")
_TEST_FILE = re.compile(r"(?:^|[/_.-])(?:tests?|specs?|checks?)(?:[/_.-]|$)|(?:^|/)test", re.I)
_RUNNERS = re.compile(r"^(?:python3?|pytest|sh|bash|node|npm|make|go|cargo|\./[\w./-]+)(?:\s|$)")
_FENCED = re.compile(r"^```.*\n((?:(?!```).*\n)+)", re.M)
_COMMANDS = re.compile(r"`([^`\n]+)`|^(?: {4,}|\t|\$ )(?:\$ )?([a-z./][^`\n]*)$", re.M)
_SHELL_SIGNS = re.compile(r"[;&|<>$`\\(){}\n]")


@dataclass(frozen=True)
class Reply:
    """What the model says and does: thoughts, words to the user, tool calls (none: it is done)."""

    reasoning: str = ""
    text: str = ""
    calls: Sequence[ToolCall] = ()


def next_step(session: Session) -> Reply:
    """The next step of the bug hunt that ``session.task`` asks for; needs a shell tool."""
    waiting = [c for c in session.calls if c.session is not None]
    if waiting and (name := session.tool("write_stdin")):
        if waiting[0].polls >= MAX_POLLS:
            return _sorry(f"`{waiting[0].command}` does not come to an end.")
        poll = {"session_id": waiting[0].session, "chars": "", "yield_time_ms": 10_000}
        return Reply("The command is still running; I wait for it.", "", [ToolCall(name, poll)])
    listed = session.ran(LIST)
    if not listed:
        return Reply(
            "The user wants failing tests fixed. I do not know this repository yet. The list of "
            "its files and the README, which may name the test command, come first; both can be "
            "fetched at once.",
            "I'll look around first.",
            [session.run(LIST), session.run(README)],
        )
    files = _paths(listed[0].text)
    readme = _last(session.ran(README))
    command = _test_command(session.task, readme.text if readme and readme.ok else "", files)
    if not command:
        return _sorry(
            "I found no command that runs the tests, neither in the README nor by the names of the "
            "files. Name it in backticks and I will go on.",
            listed[0],
        )
    tests = [f for f in files if _TEST_FILE.search(f) and _CODE_OR_TEXT.search(f)][:3]
    runs = session.ran(command)
    if not runs:
        names = " and ".join(f"`{t}`" for t in tests)
        return Reply(
            f"`{command}` runs the tests. I need to see them fail before I change anything"
            + (f", and {names} will show what is expected." if names else "."),
            f"I'll run `{command}` to see the failure" + (f" and read {names}." if names else "."),
            [session.run(command), *(session.run(_cat(t)) for t in tests)],
        )
    if runs[0].ok:
        return _already_green(session, command, runs[0])
    if runs[-1].refused:
        return _sorry(f"I could not run `{command}`, so I cannot tell what is wrong.", runs[-1])
    return _Hunt(session, command, files, tests).step()


_CODE_OR_TEXT = re.compile(_CODE_FILE.pattern + r"|\.(?:txt|md|rst)$")


class _Hunt:
    """The part after the first red run: read, patch, test, and again."""

    def __init__(self, session: Session, command: str, files: list[str], tests: list[str]) -> None:
        self.session = session
        self.command = command
        self.red = session.ran(command)[0]
        self.patches = [c for c in session.calls if c.patch]
        self.applied = [p for p in self.patches if p.ok]
        listed = session.ran(LIST)[0].text.splitlines()
        self.noise = set(takewhile(lambda line: " " in line, listed))
        texts = [self._content(t, c) for t in tests if (c := _last(session.ran(_cat(t)))) and c.ok]
        self.failing = failures(self.red.text)
        self.known = [e for text in texts for e in checks(text)]
        self.sources = _ranked(files, self.red.text, "\n".join(texts))

    def step(self) -> Reply:
        unread = [f for f in self.sources if not self.session.ran(_cat(f))]
        if not self.sources:
            return _sorry("The tests fail, but I see no source file they could test.", self.red)
        if unread:
            return self._read(unread)
        original = self._original()
        if not original:
            read = _last(self.session.ran(_cat(self.sources[0])))
            return _sorry(f"The tests fail, and I could not read {_names(self.sources)}.", read)
        found = edits(original, self.failing, self.known, self.red.text)
        if self.patches and not self.patches[-1].ok:
            return self._refused(found, original)
        tried = len(self.applied)
        if tried == 0:
            if not found:
                return _sorry(
                    "The tests fail, and I could not fix it: no change of a single operator in "
                    f"{_names(self.sources)} makes these checks come out right, and larger repairs "
                    "are beyond an offline demo model. Nothing was changed.",
                    self.red,
                )
            return self._propose(found[0], None, original)
        last = self.session.calls.index(self.applied[-1])
        reruns = [c for c in self.session.calls[last:] if c.command == self.command]
        if tried > len(found):
            return _sorry(
                f"I could not fix it: {_count(len(found), 'attempt')}, and the tests stayed red. "
                "The last attempt is taken back, so the files are as they were.",
                self._reds()[-1],
            )
        current = found[tried - 1]
        if not reruns:
            return Reply(
                f"The patch is in. Whether `{current.new}` was right, the tests will tell.",
                "Now the tests again.",
                [self.session.run(self.command)],
            )
        if reruns[-1].ok:
            return self._fixed(current, original, reruns[-1])
        return self._propose(found[tried] if tried < len(found) else None, current, original)

    def _reds(self) -> list[Done]:
        return self.session.ran(self.command)

    def _read(self, unread: list[str]) -> Reply:
        thought = f"{_count(len(self.failing), 'check')} failed. "
        thought += " ".join(f"{e.sentence()}." for e in self.failing[:3])
        if not self.failing:
            thought = "The tests fail, but the output does not say with which values."
        return Reply(
            f"{thought} The code under test should be in {_names(self.sources)}.",
            f"The tests fail. I'll read {_names(unread)}.",
            [self.session.run(_cat(f)) for f in unread],
        )

    def _original(self) -> dict[str, str]:
        """The sources as they were before the first patch that was applied."""
        calls = self.session.calls
        if self.applied:
            calls = calls[: calls.index(self.applied[0])]
        found = {}
        for path in self.sources:
            read = _last([c for c in calls if c.command == _cat(path)])
            if read is not None and read.ok:
                found[path] = self._content(path, read)
        return found

    def _content(self, path: str, read: Done) -> str:
        """A file as it was read, without what the login shell complained of in front of it."""
        lines = read.text.split("\n")
        while lines and lines[0] in self.noise:
            del lines[0]
        if path.endswith(".py"):
            for skip in range(min(6, len(lines))):
                if parse(text := "\n".join(lines[skip:])):
                    return text
        return "\n".join(lines)

    def _propose(self, edit: Edit | None, undo: Edit | None, original: dict[str, str]) -> Reply:
        """Patch from the files with ``undo`` in place to those with ``edit`` (None: as it was)."""
        before, after = dict(original), dict(original)
        if undo:
            before[undo.path] = undo.apply(original[undo.path])
        if edit:
            after[edit.path] = edit.apply(original[edit.path])
        texts = [patch(p, before[p], after[p]) for p in original if before[p] != after[p]]
        call = self.session.patched(_merged(texts))
        if edit is None:
            return Reply(
                "That was the last likely edit. I leave no failed attempt behind.",
                "Still red. I take my last attempt back.",
                [call],
            )
        where = f"`{edit.path}`, line {edit.line + 1}"
        if undo:
            return Reply(
                f"Still red with `{undo.new}`, so that was not it. Next: `{edit.new}` for "
                f"`{edit.old}` in {where}; the same patch takes the last attempt back.",
                f"Still red. I take that back and try `{edit.new}` in {where}.",
                [call],
            )
        line = original[edit.path].split("\n")[edit.line].strip()
        why = (
            f"I went through the operators of `{edit.function}` by evaluating it: with "
            f"`{edit.new}` instead of `{edit.old}` in `{line}`, every check comes out as expected."
            if edit.proven
            else f"I cannot evaluate this one in my head. In `{line}` the likeliest slip is "
            f"`{edit.old}` for `{edit.new}`; I change that, and the tests will tell."
        )
        facts = "".join(f"{e.sentence()}. " for e in self.failing[:1])
        plan = f"In {where}, `{edit.old}` should be `{edit.new}`. I'll patch it."
        return Reply(facts + why, plan, [call])

    def _refused(self, found: list[Edit], original: dict[str, str]) -> Reply:
        """The last patch was not applied: read the file again and retry once, then give up."""
        failed = self.patches[-1]
        refused = [p for p in self.patches if not p.ok]
        if self.applied or failed.refused or len(refused) > 1 or not found:
            left = (
                f" An earlier attempt (`{found[len(self.applied) - 1].new}`) is still in the file."
                if 0 < len(self.applied) <= len(found)
                else ""
            )
            return _sorry("I could not fix it: the patch could not be applied." + left, failed)
        path = found[0].path
        since = self.session.calls[self.session.calls.index(failed) :]
        if not any(c.command == _cat(path) for c in since):
            return Reply(
                "The patch was refused. Perhaps the file is not what I read; I look again.",
                f"The patch could not be applied. I'll read `{path}` again.",
                [self.session.run(_cat(path))],
            )
        return self._propose(found[0], None, original)

    def _fixed(self, edit: Edit, original: dict[str, str], green: Done) -> Reply:
        before = original[edit.path].split("\n")[edit.line]
        after = edit.apply(original[edit.path]).split("\n")[edit.line]
        tries = len(self.applied)
        took = f" It took {tries} attempts." if tries > 1 else ""
        return Reply(
            "Green. Time to report.",
            f"Fixed. In `{edit.path}`, line {edit.line + 1}, the operator was wrong: `{edit.old}` "
            f"had to be `{edit.new}`.{took}\n\n```diff\n-{before}\n+{after}\n```\n\n"
            f"`{self.command}` passes now{_outcome(green)}",
        )


def _already_green(session: Session, command: str, run: Done) -> Reply:
    said = " (this conversation was summarised, so the fix may be mine)" * session.summarised
    return Reply(
        "The tests pass, so there is nothing to repair.",
        f"There is no failing test to fix, and I changed nothing{said}. `{command}` passes"
        f"{_outcome(run)}",
    )


def _sorry(why: str, quoted: Done | None = None) -> Reply:
    """The honest end of a hunt without success."""
    text = f"{why}\n\n{_quote(quoted)}" if quoted else why
    return Reply("I cannot go on from here; the user should know exactly why.", text)


def _outcome(green: Done) -> str:
    return f":\n\n{_quote(green)}" if green.text.strip() else ", without a word of complaint."


def _quote(call: Done, lines: int = 12) -> str:
    printed = (call.text.strip() or "(no output)").splitlines()
    cut = ["…"] if len(printed) > lines else []
    return "\n".join(["```", *cut, *printed[-lines:], "```"])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + "s" * (number != 1)


def _names(paths: Sequence[str]) -> str:
    return ", ".join(f"`{p}`" for p in paths)


def _last(calls: Sequence[Done]) -> Done | None:
    return calls[-1] if calls else None


def _cat(path: str) -> str:
    plain = re.fullmatch(r"[\w./-]+", path) and not path.startswith("-")
    quoted = path.replace("'", "'\\''")
    return f"cat {path}" if plain else f"cat -- '{quoted}'"


def _merged(patches: Sequence[str]) -> str:
    """Patches of several files as one."""
    body = "".join(p.split("\n", 1)[1].rpartition("*** End Patch")[0] for p in patches)
    return f"*** Begin Patch\n{body}*** End Patch\n"


def _paths(listing: str) -> list[str]:
    lines = (line.strip().removeprefix("./") for line in listing.splitlines())
    return [line for line in lines if line and "\0" not in line]


def _test_command(task: str, readme: str, files: list[str]) -> str:
    """How the tests are run: said in the task or the README, else by the names of the files."""
    for text in (task, readme):
        plain = _FENCED.sub(lambda m: "\n".join("    " + x for x in m[1].split("\n")), text)
        for match in _COMMANDS.finditer(plain):
            command = (match[1] or match[2]).strip()
            if _is_test(command):
                return command
    names = [f for f in files if _TEST_FILE.search(f)]
    if any(f.endswith(".py") for f in names):
        folder = names[0].rpartition("/")[0] if "/" in names[0] else ""
        return "python3 -m unittest" + (f" discover -s {folder}" if folder else "")
    if any(f.endswith(".js") for f in names):
        return "npm test" if "package.json" in files else "node --test"
    return next((f"sh {f}" for f in names if f.endswith(".sh")), "")


def _is_test(command: str) -> bool:
    return bool(
        _RUNNERS.match(command)
        and not _SHELL_SIGNS.search(command)
        and re.search(r"test|check|spec", command)
        and len(command) < 200
        and not command.endswith((".", ":", ","))
    )


def _ranked(files: list[str], output: str, tests: str) -> list[str]:
    """The source files worth reading, those named by output or tests first."""
    sources = [f for f in files if _CODE_FILE.search(f) and not _TEST_FILE.search(f)]

    def rank(path: str) -> tuple[bool, bool]:
        stem = re.escape(path.rpartition("/")[2].rpartition(".")[0])
        word = re.compile(rf"\b{stem}\b")
        return not word.search(output), not word.search(tests)

    named = [f for f in sources if not all(rank(f))]
    return sorted(named or sources, key=rank)[:_MAX_SOURCES]
