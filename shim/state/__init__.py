"""What the chain remembers for clients: stored responses, conversations and their summaries."""
