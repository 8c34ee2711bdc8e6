"""What answers for a home: its interface, its HTTP, and the server of both."""
