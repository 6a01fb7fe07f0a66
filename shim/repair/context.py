"""Where a call may stand: the text before it tells one that is meant from one that is shown.

A call stands at the beginning of a line, or behind the end of a sentence. In a fence, in inline
code, in a quotation, a diff or an example it is shown.
"""

from __future__ import annotations

import re

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})(.*)$", re.M)
_LINE_START = re.compile(r" {0,3}(?:</(?:think|thinking|reasoning|response)>\s*|<\|[a-z_]+\|>\s*)*")
_SENTENCE = re.compile(r"[.!?…。！？][\"')\]]?\s*$")
_QUOTING = re.compile(r"\s*(?:[>+|#*-]|\d+[.)]\s)")
_DIFF = re.compile(r"^(?:@@ |diff --git |\+\+\+ |--- |\*\*\* (?:Begin Patch|Update File))", re.M)
_SHOWN = re.compile(
    r"\b(?:examples?|e\.g|for instance|such as|like (?:this|so|that)|formats?|syntax|"
    r"looks? like|would (?:write|emit|look|be|say|answer)|template|schema|instead of|"
    r"literal(?:ly)?|documentation|docs|spec(?:ification)?|snippet|sample|rendered|"
    r"(?:is|are|was|were) written|prints?|printed|logged|emits?|quoted?|excerpt)\b",
    re.I,
)
#: What stands bare behind such a line belongs to a form that was not understood.
_TAG = re.compile(r"<(?!/?(?:think|thinking|response)\b)[^/<>][^<>]*>")
_TAG_BEHIND = re.compile(r"[^\s>]\s*<(?!/?(?:think|thinking|response)\b)[^/<>][^<>]*>$")
_AROUND = (("<pre", "</pre"), ("<code", "</code"), ("<example", "</example"), ("<!--", "-->"))
_RECENT = 4000


class Context:
    """The text of a message so far, and whether a call may stand at its end."""

    def __init__(self, strictness: str) -> None:
        self._strictness = strictness
        self._pieces: list[str] = []
        self._text = ""
        self._scanned = 0
        self._fence = ""
        #: Notes a piece of text that holds no line break and does not begin a line.
        self.note = self._pieces.append
        #: Whether nothing but a little space stands on the line so far.
        self.at_line = True

    def add(self, text: str) -> None:
        """``text`` was said."""
        self._pieces.append(text)
        line = text[text.rfind("\n") + 1 :]
        if "\n" in text:
            self.at_line = len(line) <= 3 and not line.strip(" ")
        else:
            self.at_line = self.at_line and len(line) <= 3 and not line.strip(" ")

    def allows(self, at_line_only: bool) -> bool:
        """Whether a call may open now."""
        text = self._joined()
        line = text[text.rfind("\n") + 1 :]
        self._scan(len(text) - len(line))
        if self._fence:
            return False
        if line.count("`") % 2:
            return False
        start = _LINE_START.fullmatch(line) is not None
        loose = self._strictness == "loose"
        if not start:
            if at_line_only or self._strictness == "strict" or _QUOTING.match(line):
                return False
            if not loose and not _SENTENCE.search(line):
                return False
            if line[-1:] in "\"'“”«(":
                return False
        recent = text[-_RECENT:]
        if line.startswith(" ") and _DIFF.search(recent):
            return False
        if any(recent.count(begin) > recent.count(end) for begin, end in _AROUND):
            return False
        lines = recent.rstrip().split("\n")
        before = lines[-1].strip() if start else ""
        if at_line_only and _TAG.fullmatch(before):
            return False
        if loose:
            return True
        while len(lines) > 1 and _TAG.fullmatch(lines[-1].strip()):
            lines.pop()
        before = lines[-1]
        if start and _TAG_BEHIND.search(before.rstrip()):
            # The wrapper stands where no call may.
            return False
        return not (_SHOWN.search(before) and before.rstrip().endswith((":", "—", "-", "…", "...")))

    def _joined(self) -> str:
        if self._pieces:
            self._text += "".join(self._pieces)
            self._pieces.clear()
        return self._text

    def _scan(self, until: int) -> None:
        """Follow the fences up to ``until``, the beginning of a line."""
        if until <= self._scanned:
            return
        for match in _FENCE.finditer(self._text, self._scanned, until):
            mark = match[1]
            if not self._fence:
                if "`" not in match[2] or mark[0] == "~":
                    self._fence = mark
            elif mark.startswith(self._fence) and not match[2].strip():
                self._fence = ""
        self._scanned = until
