"""What mkdocs does to every page: words of commands stay whole where a line wraps."""

from __future__ import annotations

import re
from typing import Any

_CODE = re.compile(r"(<code[^>]*>)(.*?)(</code>)", re.DOTALL)
_WORD = re.compile(r"(<[^>]*>)|([^\s<>]*-[^\s<>]*)")
LONGEST = 40
"""Characters of a word that fits a phone's screen; a longer one breaks anywhere."""


def on_page_content(html: str, **_: Any) -> str:
    """Return a page with every hyphenated word of its code in a ``span.word``: a browser breaks lines after hyphens."""
    return _CODE.sub(lambda code: code[1] + _WORD.sub(_keep, code[2]) + code[3], html)


def _keep(match: re.Match[str]) -> str:
    tag, word = match.groups()
    return tag or (f'<span class="word">{word}</span>' if len(word) <= LONGEST else word)
