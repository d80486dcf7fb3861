"""Words of a text, for everything that counts or compares them."""

import re

_WORD = re.compile(r"[぀-ヿ㐀-鿿가-힯]|\w+", re.UNICODE)


def words(text: str) -> list[str]:
    """Lower-case words; each Chinese, Japanese or Korean character counts as one."""
    return _WORD.findall(text.lower())
