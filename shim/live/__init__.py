"""What a running chain tells of itself: sums, metrics, the dashboard."""
