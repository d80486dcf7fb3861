"""Texts cut to what an embedding model can read at once."""

import copy
from itertools import pairwise
from typing import Any


class WindowCutter:
    """Cuts texts by a tokenizer's count.

    Args:
        tokenizer: A `tokenizers.Tokenizer`; a copy of it is used.
        max_tokens: What the model reads, special tokens included.
    """

    def __init__(self, tokenizer: Any, max_tokens: int) -> None:  # noqa: ANN401
        self._tokenizer = copy.deepcopy(tokenizer)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        specials = int(self._tokenizer.num_special_tokens_to_add(is_pair=False))
        self.window_tokens = max_tokens - specials

    def windows(self, text: str) -> list[str]:
        """Cut a text into pieces of at most `window_tokens` tokens.

        The cuts fall between words (within one only where it fills a whole window), so that each
        piece reads as it did in the text; the pieces join to the text, and texts that begin alike
        have the same first windows. A text that fits gives itself.
        """
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        offsets, words = encoded.offsets, encoded.word_ids
        cuts = [0]
        start = 0
        while start + self.window_tokens < len(offsets):
            full = end = start + self.window_tokens
            while end > start and words[end] == words[end - 1]:
                end -= 1
            start = end if end > start else full
            cuts.append(offsets[start][0])
        return [text[a:b] for a, b in pairwise([*cuts, len(text)])]
