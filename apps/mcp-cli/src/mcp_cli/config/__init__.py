"""The configuration: where it is, how it is read, checked, cached and edited."""
