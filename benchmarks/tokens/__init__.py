"""What a session costs: the real Codex at work over real code, billed like a provider's cache."""
