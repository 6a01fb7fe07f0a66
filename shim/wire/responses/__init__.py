"""The Responses API as a client's protocol: its requests, the streams and errors it expects."""
