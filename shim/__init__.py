"""Interpose without a proxy: pure parts that decide, translate and record; nothing here imports mitmproxy."""
