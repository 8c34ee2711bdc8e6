"""The pool: MCP servers, started on demand, kept, restarted, ended.

    service       the calls of `interfaces.Mcp`, answered
    kept          one server: started when it is needed, kept, restarted, and ended
    connection    one connection to a server: the SDK's client in a task, and what passes through it
    stdio         a server that is a child process: its pipes, lines, stderr, end
    http          a server that is reached over HTTP, and its OAuth tokens
    tap           whose answer is this?  What passes between the SDK and a server, seen from beside
    filters       which tools the configuration shows
    results       what a result is: its text for people, its pieces
    redact        what must not be told on

Only `connection`, `http` and `tap` import the SDK, which takes most of a second, and they are imported when
the first server is started, while its process starts.
"""
