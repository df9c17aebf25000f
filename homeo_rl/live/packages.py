"""Packages of the npm registry that the page is built from: pinned, checked, and kept in the user's cache folder."""

import base64
import hashlib
import io
import os
import tarfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from homeo_rl.errors import StorageFault
from homeo_rl.numerics.cache_folders import cache_home
from homeo_rl.storage import bundle

REGISTRY = "https://registry.npmjs.org"
"""npm's own; the variable npm_config_registry names another one, as it does for npm."""

_VARIABLE = "npm_config_registry"
_SECONDS = 60.0
_LARGEST = 40_000_000  # bytes of a file


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package: its name in the registry, its version, npm's SHA-512 of it (base64), its licence."""

    name: str
    version: str
    sha512: str
    licence: str

    @property
    def file_name(self) -> str:
        """Name of the archive."""
        return f"{self.name.rpartition('/')[2]}-{self.version}.tgz"


MUJOCO = Package(
    name="@mujoco/mujoco", version="3.14.0", licence="Apache-2.0",
    sha512="WPUYidu4Fx8+uM4hQv80SOA0ifpWGrsNJguKs8JBV8SCTxjKQ2/rqsh880nUH0/Vwa8vuefghvCQkkoed3bkUg==",
)  # fmt: skip
THREE = Package(
    name="three", version="0.187.0", licence="MIT",
    sha512="Qiu7R+Cmh8CstZsY1uJOSWnVlfo7ZtNLV7mF8Jltk3LB3AtDu9cRZlcnRKkAk8Y4z6KKw35z7Y7Urd7jWY8etA==",
)  # fmt: skip


def read_package(package: Package) -> dict[str, bytes]:
    """Return the files of a package by their paths in it, from the cache or else from the registry.

    Raises:
        StorageFault: it is not in the cache and the registry cannot be reached, or gives another file.
    """
    home = cache_home()
    cached = None if home is None else home / "homeo-rl" / "npm" / package.file_name
    blob = None if cached is None or not cached.is_file() else cached.read_bytes()
    if blob is None or not _is_sound(package, blob):
        blob = _download(package, cached)
        if cached is not None:
            cached.parent.mkdir(parents=True, exist_ok=True)
            bundle.replace(cached, blob)
    with tarfile.open(fileobj=io.BytesIO(blob), mode="r:gz") as archive:
        return {
            member.name.partition("/")[2]: handle.read()
            for member in archive
            if member.isfile() and (handle := archive.extractfile(member)) is not None
        }


def _download(package: Package, cached: Path | None) -> bytes:
    registry = os.environ.get(_VARIABLE, REGISTRY).rstrip("/")
    address = f"{registry}/{package.name}/-/{package.file_name}"
    if not address.startswith(("https://", "http://")):
        raise StorageFault(f"{_VARIABLE}: expected an address of http or https, got {registry}; leave it out")
    try:
        with urllib.request.urlopen(address, timeout=_SECONDS) as answer:
            blob: bytes = answer.read(_LARGEST)
    except (OSError, urllib.error.URLError) as error:
        place = "" if cached is None else f", or copy the file to {cached}"
        raise StorageFault(f"{address}: cannot be read ({error}); connect to the network{place}") from None
    if not _is_sound(package, blob):
        raise StorageFault(f"{address}: expected the SHA-512 sum of {package.version}, got another file; try again")
    return blob


def _is_sound(package: Package, blob: bytes) -> bool:
    return base64.b64encode(hashlib.sha512(blob).digest()).decode() == package.sha512
