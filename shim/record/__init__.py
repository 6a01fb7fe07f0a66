"""What is kept of an exchange: redaction, the summary, and replay of what was recorded."""
