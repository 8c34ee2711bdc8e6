"""The children of a supervisor: collected when they end, and ended when it does."""
