"""One folder per protocol: requests, streams and errors, both ways. Start at ``translate.py``."""
