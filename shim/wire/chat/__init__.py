"""Chat Completions: requests and answers, read and written."""
