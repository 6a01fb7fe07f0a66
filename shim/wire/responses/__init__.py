"""OpenAI's Responses: requests and answers, read and written."""
