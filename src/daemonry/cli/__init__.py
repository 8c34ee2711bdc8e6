"""The command line of daemonry and of every daemon written with it."""

from daemonry import bundle

bundle.use()
