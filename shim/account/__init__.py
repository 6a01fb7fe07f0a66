"""What turns cost: tokens as they are billed, what was saved, and sessions in numbers."""
