"""palingenesis: keeps AI coding sessions alive.

The command:

    cli               its entry: quick commands here, all others there
    quick             the quick commands: what status, pause and resume print
    commands          what all commands do
    config_commands   config init, show, validate
    config_editing    config edit
    mcp_server        mcp serve, mcp config
    mcp_tools         what agents may ask
    service_file      install, uninstall
    default_config    the text that `config init` writes
    grammar           the table of all commands, and their completion
    overview          agents, sessions, why, and the live table
    words             now, skip, abort, hold, release, new-session
    hooks             hooks of agents: install, remove, and their reports
    terminal          an agent in a terminal that outlives its window
    clock_hours       hours of the day, such as 22:00-07:00
    spans             lengths of time as people write them

Facts about sessions, and decisions:

    agents            agents as tables: where their sessions are, how one is read and resumed
    evidence          files and processes, read into typed facts
    verdict           why a session is as it is, from these facts
    resume            sessions resumed: when, whether, and never twice

The daemon:

    definition        its name and version
    served            its hooks
    notices           tells the user about a stop that needs them, once
    keeper            the counters, the current session, paused or not: what changes them, and when
    watch             one directory under watch: which session files were saved
    session_files     session files on the disk: finding them, telling old from new
    sessions          what a session file is, from its first bytes
    state_file        what survives a restart
    settings          the configuration's keys, types and ranges
"""

from __future__ import annotations

__version__ = "0.1.0"
# What the native launcher knows of this package: see `daemonry.cli.native`.
LAUNCHER = 1

NAME = "palingenesis"
