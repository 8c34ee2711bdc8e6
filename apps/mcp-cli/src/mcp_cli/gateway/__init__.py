"""mcp-cli as a server: `serve`, `record` and `replay`, `generate`."""
