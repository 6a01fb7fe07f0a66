"""Command-line agents as models: a program works on each turn, and its report is the answer.

`serve` takes a request, `ask` makes the prompt of it, `codex` or `lines` runs the program
(`process`) and tells what it says as canonical events; `queue` keeps turns in order and bounds how
many run, `sessions` remembers which session of the program belongs to which conversation.
"""
