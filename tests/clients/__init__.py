"""Other people's clients, as they are installed, through the chain."""
