"""One run of a service: its process, its readiness, its checks, and the meaning of its end."""
