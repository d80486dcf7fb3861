"""Pre-flight of a teacher with another tokenizer: how much of the rows it can teach. Torch-free."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from distill_studio.distill.alignment import MOST_TOKENS, make_aligner
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import LogitRun, RunConfig
from distill_studio.distill.data import MASKED, Row, cut
from distill_studio.distill.findings import Finding
from distill_studio.distill.pairing import WAY_OUT, is_across, unlikeness
from distill_studio.distill.reasoning import encode_answer
from distill_studio.distill.rows import TolerantReader
from distill_studio.distill.shared_vocabulary import shared_ids

LOOKED_AT = 200  # rows that are cut by both tokenizers; it says so when there are more
LEAST_ALIGNED = 0.5  # of the answers' tokens: of a smaller part the teacher would teach by chance


def alignment_findings(
    config: RunConfig, ours: ChatTokenizer, rows: Sequence[Row]
) -> list[Finding]:
    """What part of the answers and of the vocabulary both have, or why that is too little.

    Args:
        config: The run, its pairing checked.
        ours: The student's tokenizer.
        rows: That the student can read.
    """
    if not isinstance(config, LogitRun) or not is_across(config):
        return []
    theirs = ChatTokenizer.load(Path(config.teacher.folder))
    looked = rows[:LOOKED_AT]
    reader = TolerantReader(make_aligner(config, ours))
    aligned = [found for _, found in reader.all_of(looked)]
    learned = sum(_learned(config, ours, row) for row in looked)
    inside = sum(found.aligned for found in aligned)
    spans = sum(len(found.spans) for found in aligned)
    share = inside / max(learned, 1)
    refused = ""
    if reader.first is not None:
        refused = (
            f" The teacher's template refuses {reader.refused} of the rows, which teach by their"
            f" answers alone; the first: {reader.first.error.user_message}"
        )
    first = f" (first {len(looked)} rows)" if len(looked) < len(rows) else ""
    if share < LEAST_ALIGNED:
        message = (
            f"Only {share:.0%} of the answers' tokens stand where both tokenizers write the same"
            f" text within {MOST_TOKENS} tokens{first}; at least {LEAST_ALIGNED:.0%} are wanted."
            f"{refused}"
        )
        hint = f"Set Across tokenizers to answers. {WAY_OUT}"
        return [Finding(level="error", code="unaligned", message=message, hint=hint)]
    pairs = shared_ids(ours, theirs)
    if config.across_tokenizers == "hybrid" and not pairs:
        message = "The two vocabularies have no token in common, so nothing is left for a KL."
        hint = "Set Across tokenizers to uld."
        return [Finding(level="error", code="nothing_shared", message=message, hint=hint)]
    message = (
        f"{share:.1%} of the answers' tokens are aligned with the teacher's, in {spans:,} spans of"
        f" the same text{first}; the others learn from the answers alone. Of the student's"
        f" {len(ours.vocabulary()):,} tokens the teacher has"
        f" {len(pairs) / len(ours.vocabulary()):.1%}.{refused}"
    )
    found = [Finding(level="info", code="aligned", message=message)]
    if not unlikeness(theirs, ours):
        found.append(
            Finding(
                level="warning",
                code="one_tokenizer",
                message="Teacher and student have one tokenizer: their logits can be compared token"
                " by token, for every divergence and in less time.",
                hint="Set Across tokenizers to answers.",
            )
        )
    return found


def _learned(config: LogitRun, ours: ChatTokenizer, row: Row) -> int:
    short = cut(encode_answer(ours, config, row), config.max_length)
    return sum(label != MASKED for label in islice(short.labels, 1, None))
