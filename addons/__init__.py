"""mitmproxy addons, one per stage of the chain: a hook, one call into ``shim``, the result set."""
