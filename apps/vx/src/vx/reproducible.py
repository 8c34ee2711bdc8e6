"""Values that every job has alike on every machine, so that it makes the same: variables, and times of files.

Owns these values.  A leaf.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# The time of modification of all blobs, and of a job's inputs, in seconds since 1970: 1980-01-01, the
# first date that a zip archive can hold; Nix has chosen it for that.  What a compiler makes of a
# source's time (`__TIMESTAMP__`) is then the same everywhere.
BLOB_TIME_S: Final = 315532800

# The variables that every job has, the same on every machine.
JOB_ENVIRONMENT: Final[Mapping[str, str]] = {
    "LC_ALL": "C.UTF-8",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "SOURCE_DATE_EPOCH": str(BLOB_TIME_S),
    "TZ": "UTC",
    "ZERO_AR_DATE": "1",  # macOS's ar and ld
}
