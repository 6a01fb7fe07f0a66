"""The chain in the background: one per user, found again by anybody who knows the state folder."""
