"""Resuming sessions: when, whether, and never twice.

states     the states of a session, and the table of what leads from one to the next   (pure)
entry      the entry of a session, and what an observation makes of it                  (pure)
schedule   when a try is due                                                            (pure)
guard      what a session may cost before somebody has to look at it                    (pure)
project    the bounds of a project's own file
freezer    a process that is stopped until its session is released
turns      which of those that are due may begin                                        (pure)
scouts     the tries of all processes of this user, by account
claims        the tries of all processes of one session
claim_rules  what the latest of them means for the next                                   (pure)
others     what other processes' tries mean for this daemon's entries
shared_place  where claims and scouts are: beside the agents' records
prompt     the words with which a session is resumed                                    (pure)
notes      what an earlier session left for the one that takes over
ledger     the entries on the disk
launch     one run of an agent: begun at most once, found again after a restart
audit      each decision and act, as lines of JSON
engine     looks, decides by the files above, and acts
service    the calls by which a user has a say
"""
