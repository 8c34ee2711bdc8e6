"""The calling end of a connection: the blocking and the asyncio client, and what both decide."""
