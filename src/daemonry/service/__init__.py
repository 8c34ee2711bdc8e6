"""Where messages meet byte streams: the server, its control dispatch, the clients."""
