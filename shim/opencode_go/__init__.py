"""OpenCode Go, OpenCode's plan with one key for many open models.

Which ones it has, at which of its endpoints each answers, and the policy entries for them.
"""

from __future__ import annotations

BASE_URL = "https://opencode.ai/zen/go/v1"
KEY_ENV = "OPENCODE_API_KEY"
#: The plan refuses a request that does not name its conversation.
SESSION = "x-opencode-session"
