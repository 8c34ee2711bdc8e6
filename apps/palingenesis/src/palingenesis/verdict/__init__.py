"""What the evidence about a session says: pure files, each a decision without clock, files or processes."""
