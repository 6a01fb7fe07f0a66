"""What is kept of an exchange: redaction, the summary, files, the journal, and replay."""
