"""Other people's conformance suites against the chain; run by tools/conformance."""
