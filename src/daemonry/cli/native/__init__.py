"""The side of Python for the native launcher, which does quick commands without starting Python.

    answered    a quick command that it sent, with the answer that it does not print itself
    continued   a typed call that it sent, whose further replies are Python's

Owns the number of what the two agree on.  The launcher reads it in this file's text before it sends anything,
and leaves everything to Python where it is another; the packages of programs have such a line for what it
knows of them.  It counts on when words, requests or output that the launcher has a copy of change.
"""

LAUNCHER = 2
