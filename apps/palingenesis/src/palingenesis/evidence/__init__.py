"""What can be seen of sessions: files and processes read into typed facts.

tail           a file's last lines, in constant time
places         where sessions are: patterns, and the files that fit them
claude, codex, gemini, markdown
               one agent's lines as facts                       (pure)
opencode       its database as facts
attention      which records to look at now
record_notices the system's notices, which tell it
quota          whether a limit has ended, asked before a resume
quota_answer, codex_quota
               the answer; the same in Codex's own protocol     (pure)
processes      who lives in which directory
terminals      the terminals that `palingenesis run` holds
survey         all sessions of all agents, each with its verdict
"""
