"""Certificates of a test's own, made by openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path


class Authority:
    """A certificate authority, and what it signs, below a directory.

    Attributes:
        path: its certificate.
    """

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder
        self.path = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", self._key, "-out", self.path, "-subj", f"/CN={name}", "-days", "30"),
        )

    def sign(self, name: str, host: str = "localhost", days: int = 30) -> tuple[Path, Path]:
        """Return the files of a certificate for a host and its key; expired where `days` is below 0."""
        key, asked, made = (self.folder / f"{name}.{end}" for end in ("key", "csr", "pem"))
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName=DNS:{host}\n")
        _openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", key, "-out", asked, "-subj", f"/CN={host}"),
        )
        _openssl(
            *("x509", "-req", "-in", asked, "-CA", self.path, "-CAkey", self._key, "-CAcreateserial"),
            *("-days", days, "-extfile", extensions, "-out", made),
        )
        return made, key


def _openssl(*words: object) -> None:
    done = subprocess.run(
        ["openssl", *map(str, words)], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
