"""Bridges tool families to what an upstream understands, and calls back to what the client accepts."""
