"""The answering end: listens, accepts, bounds and answers connections."""
