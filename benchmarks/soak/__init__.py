"""A day of many sessions through the chain, compressed: what grows, and what stays bounded."""
