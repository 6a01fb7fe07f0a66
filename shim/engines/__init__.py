"""Models that are no HTTP API: the offline demo model, and the loopback server it runs under."""
