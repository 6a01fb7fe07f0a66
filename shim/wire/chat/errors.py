"""Errors in the words of Chat Completions: OpenAI's, as in the Responses API."""

from ..responses.errors import error_body

__all__ = ["error_body"]
