"""A server's listener: bound, accepted from, and its socket file looked after."""
