"""Variables of the environment in a policy: ``${NAME}``, and what is written in its place."""

from __future__ import annotations

import re

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
#: A whole word that means a variable in the language of a shell or of another program.
_MEANT = re.compile(
    r"\$([A-Z_][A-Z0-9_]*)|\$env:(\w+)|\$\((\w+)\)|\$\{(?:env[:.])?(\w+)[^}]*\}|%(\w+)%"
    r"|env[:/.](\w+)|os\.environ/(\w+)|os\.(?:environ|getenv)[\[(][\"']?(\w+)[\"']?[\])]"
    r"|process\.env\.(\w+)|\{\{?\s*\$?(?:env[:.])?([A-Za-z_]\w*)\s*\}\}?"
    r"|([A-Z][A-Z0-9_]*_(?:KEY|TOKEN|SECRET))"
)


def meant(text: str) -> tuple[str, str] | None:
    """What in ``text`` is sent as it stands although a variable is meant, and the variable's name;
    None where nothing is. A word of an address ends at a slash or a port."""
    words = [text.strip(), *re.split(r"\s+|:?/+|:\d+(?=/|$)", text)]
    for word in words:
        match = _MEANT.fullmatch(word)
        if match and not VARIABLE.fullmatch(word):
            name = next(filter(None, match.groups()))
            # What stands behind the name may be a key.
            return f"${{{name}…}}" if word.startswith("${") else word, name
    return None
