"""Which protocol a request path belongs to, and where its endpoint begins."""

from __future__ import annotations

#: Per protocol, the end of the path of its one endpoint.
PATHS: dict[str, str] = {
    "responses": "/responses",
    "chat": "/chat/completions",
    "messages": "/messages",
}


#: Behind the path of Messages: the client asks how many tokens the turn has.
COUNT = "/count_tokens"


def protocol_of(path: str) -> str | None:
    """The protocol in which a request to ``path`` is a turn; None when it is none."""
    ending = split_path(path)[1]
    return next((name for name, end in PATHS.items() if ending.startswith(end)), None)


def split_path(path: str) -> tuple[str, str]:
    """What stands before the endpoint in ``path``, and the endpoint; "" when it is none of ours."""
    bare = path.partition("?")[0].rstrip("/")
    for end in (PATHS["messages"] + COUNT, *PATHS.values()):
        if bare.endswith(end):
            return bare.removesuffix(end), end
    return bare, ""
