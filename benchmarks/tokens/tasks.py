"""The tasks: what agents do all day, each over code that people use.

Written before anything was tuned by them; they are not to be changed to suit a result. Windows,
commands and habits follow those of published agent sessions: files are read in windows of 200
lines, read again after an edit, tests are run after each change, much is looked at only once.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.tokens.agent import Broken, Script, Step, add, edit, read, run, together
from benchmarks.tokens.planted import BUG, HISTORY, LOG, PROBE, SALES, SETTINGS, TESTS


@dataclass(frozen=True)
class Task:
    """One task: its code base (a package of the environment), what is asked, and how it goes.

    ``check`` is a command that ends with 0 in the folder when the work was done.
    """

    name: str
    package: str
    asked: str
    script: Callable[[], Script]
    check: str = "true"
    setup: str = ""


def _whole(path: str, window: int = 200) -> Step:
    """A file from beginning to end, window by window."""
    seen: list[str] = []
    while True:
        part = yield from read(path, len(seen) + 1, len(seen) + window)
        seen += part
        if len(part) < window:
            return seen


def explore() -> Script:
    listing = yield from run("find . -name '*.py' -size +4k | sort | head -60")
    yield from run("wc -l $(find . -name '*.py') | sort -n | tail -30")
    files = [line for line in listing.splitlines() if line.endswith(".py")]
    yield from run("cat rich/__init__.py")
    for path in files[5:25:2]:
        seen = yield from read(path, 1, 200)
        classes = [m[1] for line in seen if (m := re.match(r"class (\w+)", line))]
        if classes:
            yield from run(f"grep -rn '{classes[0]}' --include='*.py' . | head -40")
    seen = yield from _whole("rich/table.py")
    yield from run("grep -n 'def ' rich/table.py")
    at = next((n for n, line in enumerate(seen) if "def _render" in line), None)
    if at is None:
        raise Broken("rich/table.py: _render was not read")
    yield from read("rich/table.py", at - 20, at + 120)
    yield from read("rich/segment.py", 1, 250)
    yield from read("rich/console.py", 600, 850)
    yield from together("sed -n '1,80p' rich/measure.py", "sed -n '1,120p' rich/text.py")
    return "The tables are rendered in Table._render, line by line, out of Segments."


def bug_fix() -> Script:
    said = yield from run(PROBE)
    if "AssertionError" not in said:
        raise Broken("the failure was not read")
    yield from run("grep -rn 'is_success' --include='*.py' .")
    yield from run("grep -n 'def ' httpx/_models.py | head -120")
    yield from read("httpx/_models.py", 500, 700)
    yield from read("httpx/_models.py", 700, 900)
    seen = yield from _whole("httpx/_status_codes.py")
    yield from run("git log --oneline | head -5")
    yield from run("git status --short")
    yield from edit("httpx/_status_codes.py", seen, r"200 <= value <= 298", "200 <= value <= 299")
    yield from run("git diff")
    yield from run(PROBE)
    yield from read("httpx/_status_codes.py", 1, 90)
    yield from run("grep -n 'value <=' httpx/_status_codes.py")
    for name in ("is_informational", "is_redirect", "is_client_error", "is_server_error"):
        yield from run(f"grep -n -A8 'def {name}' httpx/_status_codes.py httpx/_models.py")
    yield from run("python3 -m compileall -q httpx && echo compiled")
    yield from run("git diff --stat")
    return "is_success took 299 for no success; mended and checked."


def refactor() -> Script:
    found = yield from run("grep -rln 'set_cell_size' --include='*.py' rich")
    yield from run("grep -rn 'set_cell_size' --include='*.py' rich")
    files = [line for line in found.splitlines() if line.endswith(".py")]
    yield from read("rich/cells.py", 1, 200)
    for path in files:
        lines = yield from run(f"grep -n 'set_cell_size' {path}")
        for _ in lines.splitlines():
            now = yield from run(f"grep -nw 'set_cell_size' {path} | head -1")
            if not (m := re.match(r"(\d+):", now)):
                break
            at = int(m[1])
            seen = yield from read(path, max(1, at - 30), at + 30)
            yield from edit(path, seen, r"\bset_cell_size\b", "fit_cell_size")
            yield from read(path, max(1, at - 10), at + 10)
        yield from run(f"python3 -m py_compile {path} && echo ok {path}")
    yield from run("git diff")
    yield from run("git diff --stat")
    yield from run("grep -rnw 'set_cell_size' --include='*.py' . ; echo left: $?")
    return "set_cell_size is fit_cell_size now."


def test_loop() -> Script:
    yield from run("ls -la h11; wc -l h11/*.py")
    seen = yield from _whole("h11/_headers.py")
    yield from _whole("h11/_events.py")
    text = TESTS.lstrip()
    names = [m[1] for line in seen if (m := re.match(r"def (\w+)", line))]
    if not names:
        raise Broken("h11/_headers.py: no function was read")
    for n in range(14):
        name = names[n % len(names)]
        wrong = "" if n % 3 else " + 1"
        case = (
            f"    def test_{name}_{n}(self):\n        value = {n}{wrong}\n"
            f"        print('checking {name} case {n}', getattr(_headers, '{name}'))\n"
            f"        self.assertEqual(value, {n})\n\n"
        )
        if n == 0:
            yield from add("test_it.py", text + case)
        else:
            now = yield from _whole("test_it.py")
            last = now[-2] if now[-1:] == [""] else now[-1]
            yield from edit(
                "test_it.py",
                now,
                re.escape(last),
                (last + "\n\n" + case.rstrip()).replace("\\", "\\\\"),
                around=0,
            )
        said = yield from run("python3 -m unittest -v test_it 2>&1 | tail -80")
        if wrong:
            if "FAIL" not in said:
                raise Broken("the failing test was not read")
            now = yield from read("test_it.py", 1, 250)
            yield from edit("test_it.py", now, rf"value = {n} \+ 1", f"value = {n}")
            yield from run("python3 -m unittest -v test_it 2>&1 | tail -80")
    yield from run("git status --short")
    return "Fourteen tests, all green."


def log_hunt() -> Script:
    yield from run("ls -la; wc -l service.log; head -20 service.log")
    yield from run("tail -50 service.log")
    yield from run("cut -d' ' -f2 service.log | sort | uniq -c | sort -rn | head")
    yield from run("grep -c ERROR service.log")
    yield from run("grep ERROR service.log | head -60")
    yield from run("grep ERROR service.log | tail -60")
    said = yield from run("grep -n Traceback service.log")
    if not (m := re.match(r"(\d+):", said)):
        raise Broken("the traceback was not found")
    at = int(m[1])
    yield from read("service.log", at - 20, at + 20)
    yield from read("service.log", at - 100, at + 10)
    for minutes in (1, 2, 5):
        yield from run(f"sed -n '{at - 60 * minutes},{at}p' service.log | grep -v INFO | head -80")
    for part in ("auth", "billing", "worker", "gateway"):
        yield from run(f"sed -n '{at - 400},{at + 100}p' service.log | grep ' {part} ' | tail -40")
        yield from run(
            f"grep ' {part} ' service.log | grep ERROR | awk '{{print $5}}' | sort -t= "
            "-k2 -n | tail -15"
        )
    yield from run(
        "awk '{print substr($1,12,5), $2}' service.log | grep ERROR | uniq -c | sort -rn | head -30"
    )
    seen = yield from read("service.log", at - 5, at + 8)
    cause = next((line for line in seen if "PoolExhausted:" in line), None)
    if cause is None:
        raise Broken("the cause was not read")
    yield from add("FINDINGS.md", f"# What happened\n\n`{cause.strip()}` at line {at}.\n")
    yield from run("cat FINDINGS.md")
    return f"The pool ran out: {cause}"


def docs() -> Script:
    yield from run("ls click; wc -l click/*.py")
    made: list[str] = []
    for name in ("decorators", "types", "termui", "exceptions", "formatting", "utils"):
        seen = yield from _whole(f"click/{name}.py", 250)
        public = [m[1] for line in seen if (m := re.match(r"(?:def|class) ([A-Za-z]\w*)", line))]
        if not public:
            raise Broken(f"click/{name}.py: nothing public was read")
        lines = [f"# click.{name}", ""]
        for symbol in public:
            lines += [
                f"## {symbol}",
                "",
                f"`{symbol}` stands in `click/{name}.py`. It is part of "
                "the public interface and can be imported from the package itself.",
                "",
            ]
        yield from add(f"docs/{name}.md", "\n".join(lines))
        made.append(name)
        yield from run(f"cat docs/{name}.md")
        yield from run(f"grep -n '__all__\\|^from' click/{name}.py | head -20")
        index = "\n".join(f"- [{n}]({n}.md)" for n in made)
        yield from run(f"cat > docs/index.md <<'EOF'\n# Reference\n\n{index}\nEOF")
        page = yield from run(f"sed -n '1,60p' docs/{name}.md")
        yield from edit(
            f"docs/{name}.md",
            page.splitlines(),
            rf"^# click\.{name}$",
            f"# The module click.{name}",
            around=0,
        )
    yield from run("cat docs/index.md; wc docs/*.md")
    return "Six pages of reference."


def review() -> Script:
    yield from run("git log --stat --oneline | head -60")
    log = yield from run("git log --format=%h -n 12")
    for commit in log.split()[:8]:
        yield from run(f"git show --stat {commit}")
        shown = yield from run(f"git show {commit} | head -250")
        if m := re.search(r"^\+\+\+ b/(\S+)", shown, re.M):
            yield from run(f"git show {commit}:{m[1]} | head -180")
            yield from run(f"git blame -s {m[1]} | head -40")
    yield from run("git diff HEAD~3 --stat")
    yield from run("git diff HEAD~3 | head -300")
    return "Eight changes read; the last one drops a check in starlette/routing.py."


def config() -> Script:
    yield from run("ls; wc -c settings.json; head -c 3000 settings.json")
    yield from run("python3 -m json.tool settings.json | head -150")
    for n in (3, 11, 17, 23):
        seen = yield from run(
            f"python3 -m json.tool settings.json | grep -n -A12 '\"service-{n}\"'"
        )
        if f"service-{n}" not in seen:
            raise Broken(f"service-{n} was not read")
        yield from run(
            "python3 - <<'EOF'\nimport json\nd = json.load(open('settings.json'))\n"
            f"d['services']['service-{n}']['replicas'] = {n}\n"
            "json.dump(d, open('settings.json', 'w'), indent=1, sort_keys=True)\nEOF"
        )
        yield from run("git diff | head -60")
        yield from run(f"python3 -m json.tool settings.json | grep -A12 '\"service-{n}\"'")
    yield from run("git diff --stat; python3 -m json.tool settings.json > /dev/null && echo valid")
    return "Four services have their replicas."


def data() -> Script:
    yield from run("ls -la; head -15 sales.csv; wc -l sales.csv")
    for column in (2, 3, 4):
        yield from run(f"cut -d, -f{column} sales.csv | sort | uniq -c | sort -rn | head -25")
    for n in range(6):
        script = textwrap.dedent(
            f"""
            import csv, collections
            rows = list(csv.DictReader(open('sales.csv')))
            total = collections.Counter()
            for row in rows:
                if int(row['day']) % 6 == {n}:
                    total[row['region']] += float(row['price']) * int(row['count'])
            for region, amount in total.most_common():
                print(f'{{region:12}} {{amount:12.2f}}')
            """
        ).lstrip()
        yield from run(f"cat > analyse_{n}.py <<'EOF'\n{script}EOF\npython3 analyse_{n}.py")
        yield from run(f"awk -F, '$1 % 6 == {n}' sales.csv | sort -t, -k4 -n | tail -20")
    table = yield from run("python3 analyse_5.py")
    best = table.split()[0] if table.split() else ""
    if not best:
        raise Broken("the table was not read")
    yield from add("ANSWER.md", f"The best region is {best}.\n")
    yield from together("cat ANSWER.md", "git status --short")
    yield from run("head -5 sales.csv; tail -5 sales.csv")
    return f"{best} sold most."


def port() -> Script:
    """A module rewritten beside the old one, in pieces that are read back and run."""
    yield from run("ls jinja2; wc -l jinja2/*.py")
    seen = yield from _whole("jinja2/lexer.py")
    yield from run("grep -rn 'import.*lexer\\|from .lexer' jinja2")
    starts = [n for n, line in enumerate(seen) if re.match(r"(def|class) ", line)]
    if len(starts) < 8:
        raise Broken("jinja2/lexer.py was not read")
    path = "jinja2/lexer2.py"
    yield from add(path, '"""The lexer, rewritten."""\n\nfrom __future__ import annotations\n')
    for first, after in list(pairwise(starts))[:12]:
        chunk = [re.sub(r"\blexer\b", "lexer2", line) for line in seen[first:after]]
        text = "\n".join(chunk)
        yield from run(
            f"cat >> {path} <<'EOF_PIECE'\n{text}\nEOF_PIECE\npython3 -m py_compile {path}"
        )
        yield from run(f"tail -n {min(120, len(chunk) + 10)} {path}")
    yield from run(f"diff jinja2/lexer.py {path} | head -150")
    yield from read(path, 1, 200)
    yield from run("git status --short")
    return "The lexer's first twelve parts stand in lexer2.py."


def careful() -> Script:
    """Small edits, each looked at by status, diff and a run: how cautious agents work."""
    yield from run("ls flask; wc -l flask/*.py")
    for name in ("helpers", "sessions", "config", "views", "globals", "logging", "signals", "cli"):
        path = f"flask/{name}.py"
        seen = yield from read(path, 1, 200)
        yield from edit(
            path,
            seen,
            r"^from __future__ import annotations$",
            "from __future__ import annotations\n\n# Types are checked in strict mode.",
        )
        yield from run("git status --short")
        yield from run("git diff")
        yield from run(f"python3 -m py_compile {path} && echo ok")
        yield from read(path, 1, 60)
    yield from run("git diff --stat")
    return "Eight modules carry the note."


def long_work() -> Script:
    """A long day over a large code base: look around, change, look again, come back later."""
    listing = yield from run("find mitmproxy -name '*.py' -size +3k | sort")
    files = [line for line in listing.splitlines() if line.endswith(".py")]
    if len(files) < 60:
        raise Broken("the listing was not read")
    for round_ in range(2):
        for n, path in enumerate(files[10:60:3]):
            seen = yield from read(path, 1, 200)
            if n % 2 == 0:
                name = next((m[1] for x in seen if (m := re.match(r"class (\w+)", x))), "Flow")
                yield from run(f"grep -rn '{name}' --include='*.py' mitmproxy | head -30")
            doc = next((x for x in seen if re.match(r"(import|from) \w+", x)), None)
            if n % 3 == 0 and doc:
                yield from edit(path, seen, f"^{re.escape(doc)}$", f"{doc}  # round {round_}")
                yield from run(f"git diff {path}")
                yield from run(f"python3 -m py_compile {path} && echo ok")
            if n % 5 == 4:
                yield from read(path, 150, 400)
    yield from run("git diff | head -400")
    yield from run("git diff --stat")
    return "Two rounds done."


TASKS = (
    Task("explore", "rich", "How are tables rendered here?", explore),
    Task("bug-fix", "httpx", "is_success is wrong for 299; fix it.", bug_fix, PROBE, BUG),
    Task(
        "refactor",
        "rich",
        "Rename set_cell_size to fit_cell_size.",
        refactor,
        "! grep -rnwq set_cell_size --include=*.py rich",
    ),
    Task(
        "test-loop", "h11", "Write tests, one by one.", test_loop, "python3 -m unittest -q test_it"
    ),
    Task("log-hunt", "h11", "Why did the worker fail?", log_hunt, "grep -q Pool FINDINGS.md", LOG),
    Task("docs", "click", "Write a reference of six modules.", docs, "test -s docs/utils.md"),
    Task("review", "starlette", "Review the last changes.", review, "true", HISTORY),
    Task(
        "config",
        "h11",
        "Set the replicas of four services.",
        config,
        "grep -q '\"replicas\": 23' settings.json",
        SETTINGS,
    ),
    Task("data", "h11", "Which region sold most?", data, "test -s ANSWER.md", SALES),
    Task(
        "port",
        "jinja2",
        "Rewrite the lexer beside the old one.",
        port,
        "python3 -m py_compile jinja2/lexer2.py",
    ),
    Task(
        "careful",
        "flask",
        "Note in eight modules that types are strict.",
        careful,
        "test $(git diff --name-only | wc -l) = 8",
    ),
    Task(
        "long-work",
        "mitmproxy",
        "Go through the code base twice.",
        long_work,
        "git diff --name-only | grep -q mitmproxy",
    ),
)
