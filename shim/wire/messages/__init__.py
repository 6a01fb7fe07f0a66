"""Anthropic's Messages: requests and answers, read and written."""
