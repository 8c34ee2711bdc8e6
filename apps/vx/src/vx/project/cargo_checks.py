"""What cargo refuses in a manifest that can be read: a version that is not one, a name that nothing has.

Owns the list.  Each is refused as something that only cargo does, so cargo is asked and says it in its words.
Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from daemonry.typed_toml import KeyPath
from vx.project.cargo_manifest import CargoManifest, Package
from vx.project.errors import unsupported

_VERSION: Final = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")


def check(manifest: CargoManifest, package: Package, *, in_workspace: bool) -> None:
    """Refuse what cargo would refuse.

    Args:
        manifest: the manifest.
        package: its package.
        in_workspace: whether it belongs to a workspace.

    Raises:
        Unsupported: cargo has to say.
    """
    table = manifest.table
    if not _VERSION.fullmatch(package.version):
        raise _refused(manifest, ("package", "version"), f"the version {package.version!r}")
    given = table.get("bin")
    programs = (
        [one.get("name") for one in given or () if isinstance(one, dict)] if isinstance(given, list) else []
    )
    for name in programs:
        if programs.count(name) > 1:
            raise _refused(manifest, ("bin",), f"two programs called {name!r}")
    lints = table.get("lints")
    if not in_workspace and isinstance(lints, dict) and lints.get("workspace") is True:
        raise _refused(manifest, ("lints", "workspace"), "lints of a workspace that is not there")
    features = table.get("features")
    features = features if isinstance(features, dict) else {}
    known = {*features, *_dependencies(table)}
    for name, values in features.items():
        for value in values if isinstance(values, list) else ():
            if isinstance(value, str) and not {":", "/"} & set(value) and value not in known:
                raise _refused(manifest, ("features", name), f"the feature {value!r}, which nothing has,")


def _refused(manifest: CargoManifest, where: KeyPath, what: str) -> Exception:
    return unsupported(manifest.source, where, what)


def _dependencies(table: Mapping[str, Any]) -> set[str]:
    platforms = table.get("target")
    tables = [table, *(platforms.values() if isinstance(platforms, dict) else ())]
    found: set[str] = set()
    for one in tables:
        for kind in ("dependencies", "build-dependencies", "build_dependencies"):
            given = one.get(kind) if isinstance(one, dict) else None
            found.update(given if isinstance(given, dict) else ())
    return found
