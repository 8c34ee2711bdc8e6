"""Projects that cargo resolves: the questions to it, build scripts, and the plan."""
