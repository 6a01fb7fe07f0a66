"""Chat Completions as an upstream: requests to it, its answers and streams to canonical events."""
