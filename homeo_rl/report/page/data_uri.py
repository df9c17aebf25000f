"""Files inside a page."""

from __future__ import annotations

import base64


def data_uri(kind: str, blob: bytes) -> str:
    """Return a file as an address that holds it, for ``img``; ``kind`` is its media type."""
    return f"data:{kind};base64,{base64.b64encode(blob).decode()}"
