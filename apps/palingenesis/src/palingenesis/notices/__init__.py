"""Notices: its user is told of a stop that needs somebody, once, wherever they are.

words         which entries are worth a notice, and its words      (pure)
outbox        notices on the disk: kept until they are delivered
delivery      takes them from the outbox to their receivers
send          the process in which apprise runs
"""
