"""Bridges tool families to what an upstream understands, and calls back to the client's own."""
