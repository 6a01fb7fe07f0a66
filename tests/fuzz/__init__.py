"""Random turns through the whole chain: what may never happen, whatever a client or an upstream
sends. ``python -m tests.fuzz`` runs many of them, the test suite some."""
