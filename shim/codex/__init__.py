"""What concerns the Codex client alone: its home folder, its model catalog, its binary."""
