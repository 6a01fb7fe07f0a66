"""One turn there and back: what came, what was decided, what came of it."""
