"""`python -m daemonry_native`: the same as the command `daemonry-native`."""

from __future__ import annotations

import sys

from daemonry_native import main

sys.exit(main())
