"""An accepted connection that speaks Varlink: its socket, its calls, its replies, and what it owes."""
