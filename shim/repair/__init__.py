"""Tool calls that a model writes as text, made into calls again."""
