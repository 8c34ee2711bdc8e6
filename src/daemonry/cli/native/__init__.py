"""The side of Python for the native launcher, which does quick commands without starting Python."""
