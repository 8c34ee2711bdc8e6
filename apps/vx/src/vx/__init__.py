"""vx: a caching build engine of three services.

    vx           the command, a thin client of aether
    vx-aether    the orchestrator: plans a build, knows its keys, owns the other two
    vx-cass      the content-addressed store
    vx-rhea      runs compilers

Shared by them:

    home         where a home's sockets, logs and directories are
    home_daemon  a service of a home as a daemon
    interfaces   what cass and rhea can be asked
    cass_client  asking cass, for programs that live long
    digests      BLAKE3 digests: their form, and hashing
    file_digests digests of files, remembered as long as the file is surely the same
    depfile      what a compiler says that it read
    directories  directories in a user's project, made by a daemon

What only aether, or the command, needs:

    project      what a project is: read from its manifests, planned into actions
    keys         what a result depends on
    reports      what each build did and why
    cli          the command
"""

from __future__ import annotations

__version__ = "0.1.0"
# What the native launcher knows of this package: see `daemonry.cli.native`.
LAUNCHER = 1
