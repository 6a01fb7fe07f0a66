"""What becomes of a prompt before it is sent: elements and edits, catch rules, tools, masks."""
