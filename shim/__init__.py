"""Interpose without a proxy: the parts that decide, translate and record."""
