"""What an exporter gives, and by what a policy is known in all files."""

import hashlib
import json
from dataclasses import dataclass

from homeo_rl.spec import ControllerSpec, dump


@dataclass(frozen=True)
class ExportedFile:
    """A file for another tool: its bytes, and lines on what a user has to know."""

    blob: bytes
    notes: tuple[str, ...]


def fingerprint(spec: ControllerSpec) -> str:
    """Return the SHA-256 of a policy's specification, as JSON with sorted keys and no spaces."""
    text = json.dumps(dump(spec), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class ExportedFolder:
    """Files for another tool by their names in a folder, and lines on what a user has to know."""

    files: dict[str, bytes]
    notes: tuple[str, ...]
