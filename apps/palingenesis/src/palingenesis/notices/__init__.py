"""Notices: messages to the user about a stop that needs them, once, wherever they are.

words         which entries are worth a notice, and its words      (pure)
outbox        notices on the disk: kept until they are delivered
delivery      takes them from the outbox to their receivers
send          the process in which apprise runs
"""
