"""What the licences of well-known families of models ask of whoever trains on their outputs.

A help for reading, no legal advice: the table is `assets/licences.json`, each line with its source.
"""

import functools
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field

from distill_studio.core.records.base import Record

_ASSET = Path(__file__).resolve().parents[2] / "assets" / "licences.json"
# What a person noted of a teacher's terms, where it speaks of a limit.
_LIMITS = re.compile(
    r"forbid|prohibit|compet|non-?commercial|research only|\b(?:may|must|can) ?not\b|not allowed"
    r"|not permitted|no training|read\b.*\bfirst",
    re.IGNORECASE,
)
#: Identifiers of the Hub's list that are offered first; any other of that list may be given.
COMMON = (
    "other",
    "apache-2.0",
    "mit",
    "cc-by-4.0",
    "cc-by-sa-4.0",
    "cc-by-nc-4.0",
    "cc0-1.0",
    "odc-by",
    "llama3.1",
    "llama3.2",
    "llama3.3",
    "llama4",
    "gemma",
)


class Family(Record):
    """Models under the same terms."""

    name: str = Field(description="Of the family.")
    pattern: str = Field(description="Searched for in a model's id, whatever its case.")
    licence: str = Field(description="Identifier of the Hub's list, or other.")
    licence_name: str = Field(default="", description="Of another licence.")
    link: str = Field(default="", description="To another licence's text.")
    outputs: Literal["free", "named", "passed_on", "noncommercial", "forbidden"] = Field(
        description="What its terms say of training other models on its outputs."
    )
    begins: str = Field(default="", description="How the name of a model made with it begins.")
    notice: str = Field(default="", description="What has to be shown with such a model.")
    says: str = Field(default="", description="The terms in a sentence.")
    source: str = Field(description="Where to read them.")

    def is_named_by(self, repo_name: str) -> bool:
        """Whether a repository's name begins as the licence asks."""
        return _squeezed(repo_name).startswith(_squeezed(self.begins))


@functools.cache
def families() -> tuple[Family, ...]:
    """All that are known; the first that fits a model counts."""
    return tuple(Family(**one) for one in json.loads(_ASSET.read_text(encoding="utf-8")))


def family_of(model_ids: Iterable[str]) -> Family | None:
    """The family of the first id that one fits; None where none does."""
    for model_id in model_ids:
        for family in families():
            if re.search(family.pattern, model_id, re.IGNORECASE):
                return family
    return None


def is_limiting(note: str) -> bool:
    """Whether a note on a teacher's terms speaks of a limit or asks to read them first."""
    return bool(_LIMITS.search(note))


def _squeezed(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())
