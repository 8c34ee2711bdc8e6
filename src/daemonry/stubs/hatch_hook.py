"""The build hook `daemonry-stubs` of hatchling: it writes client modules, which wheel and sdist then have."""

from __future__ import annotations

import os
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.plugin import hookimpl

from daemonry.stubs.build import build


class StubsBuildHook(BuildHookInterface[Any]):
    """`[tool.hatch.build.hooks.daemonry-stubs]` of a project's pyproject.toml."""

    PLUGIN_NAME = "daemonry-stubs"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the modules before the files are collected."""
        del version
        for path in build(self.config, self.root):
            # Also where version control ignores it.
            build_data["artifacts"].append("/" + os.path.relpath(path, self.root).replace(os.sep, "/"))


@hookimpl
def hatch_register_build_hook() -> type[StubsBuildHook]:
    """Return the hook."""
    return StubsBuildHook
