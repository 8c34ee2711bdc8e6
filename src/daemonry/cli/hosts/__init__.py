"""Commands on other machines: `--host HOST`, `$DAEMONRY_HOST` and `ps --all-hosts`.

    words        pure: which machine a command line means, and what an end of ssh means
    near         this machine's side: ssh, and its output passed on
    far          the other machine's side: says that it runs the command, and ends it when ssh has gone
    known        the machines that a shell offers behind `--host`
    everywhere   `ps --all-hosts`: the daemons of each machine that the user lists

A command line goes to the other machine as it is, and runs there under the user's own ssh.
"""
