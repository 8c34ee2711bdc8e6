"""What the evidence about a session says: pure files, each a decision without clock, files or processes.

facts          what a fact is
reasons        why a session is as it is
messages       what an agent's error message means
reset_time     when a limit ends, from such a message
run_end        what the end of a run tells, by its exit code and its last words
judge          the reason, from the facts
"""
