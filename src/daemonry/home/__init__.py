"""Several services under one directory, and the supervisor that runs them."""
