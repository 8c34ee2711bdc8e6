"""aether, the orchestrator: plans builds, knows their keys, owns cass and rhea.

daemon        its definition
interface     its calls
service       the answers
build         one build, from its plan to its report
actions       one action: found, joined with another build's, or run
memory        what the store was found to hold, kept in this process
inputs        which files an action may read, and giving them to the store
folders       the names in folders, where a result depends on them
lookups       what a job looked for, and which of it counts
placing       putting outputs where the user finds them
diagnostics   what compilers say, as people read it
services      cass and rhea: started, watched, started again
"""
