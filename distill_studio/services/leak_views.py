"""What the store knows of leaks as the records that pages and the API show."""

from collections.abc import Sequence

from distill_studio.curate.decontaminate.reports import (
    LeakCandidate,
    LeakExample,
    LeakPack,
    LeakQueue,
    LeakReport,
)
from distill_studio.curate.decontaminate.words import mark_shared
from distill_studio.curate.diff import Piece, word_diff
from distill_studio.curate.text import conversation_text
from distill_studio.store import leaks, pairs
from distill_studio.store.database import Database, Row

_CUT = 1500
_AROUND = 200  # signs left standing beside shared words in a long text


def pack(row: Row) -> LeakPack:
    """A pack of the store."""
    return LeakPack(
        name=row["name"],
        kind=row["kind"],
        source=row["source"],
        content_hash=row["content_hash"],
        items=row["items"],
        user=row["user_name"],
        made_at=row["made_at"],
        unchecked=row["unchecked"],
    )


def reports(db: Database, rows: Sequence[Row]) -> list[LeakReport]:
    """Counts of all packs, without finds to look at."""
    hits, candidates = leaks.hit_counts(db), leaks.candidate_counts(db)
    return [_report(row, hits.get(row["id"], {}), candidates.get(row["id"], {})) for row in rows]


def _report(row: Row, hits: Row, judged: Row) -> LeakReport:
    return LeakReport(
        pack=pack(row),
        finds=hits.get("finds", 0),
        rows=hits.get("rows", 0),
        items=hits.get("items", 0),
        by_rule={rule: hits.get(rule, 0) for rule in ("exact", "ngram", "coverage")},
        accepted=hits.get("accepted", 0),
        denied=hits.get("denied", 0),
        open=judged.get("open", 0),
        leaks=judged.get("leak", 0),
        not_leaks=judged.get("not_leak", 0),
        model_leaks=judged.get("model_leak", 0),
        model_not_leaks=judged.get("model_not_leak", 0),
        model_unsure=judged.get("model_unsure", 0),
        model_failed=judged.get("model_failed", 0),
        examples=[],
    )


def queue(
    db: Database,
    known: Sequence[LeakReport],
    pack_id: str,
    judged: bool,
    opinion: str,
    limit: int,
    offset: int,
) -> LeakQueue:
    """A page of candidates, each beside its item; `known` are the reports of the packs it is of."""
    rows = leaks.candidates(
        db, pack_id, is_open=not judged, opinion=opinion, limit=limit, offset=offset
    )
    found = {pair.id: pair for pair in pairs.get(db, [row["pair_id"] for row in rows])}
    return LeakQueue(
        open=sum(one.open for one in known),
        judged=sum(one.leaks + one.not_leaks for one in known),
        total=leaks.candidate_count(db, pack_id, is_open=not judged, opinion=opinion),
        candidates=[
            _candidate(row, conversation_text(found[row["pair_id"]].messages)) for row in rows
        ],
    )


def _candidate(row: Row, prompt: str) -> LeakCandidate:
    diff = word_diff(row["prompt"], prompt)
    return LeakCandidate(
        pack=row["name"],
        item=row["item"],
        label=row["label"],
        text_hash=row["text_hash"],
        pair_id=row["pair_id"],
        rows=row["rows"],
        accepted=row["accepted"],
        similarity=row["similarity"],
        rank=row["rank"],
        item_text=[(p.where, p.text) for p in diff if p.where != "right"],
        row_text=[(p.where, p.text) for p in diff if p.where != "left"],
        answer=row["answer"][:_CUT],
        verdict=row["verdict"],
        judged_by=row["judged_by"],
        opinion=row["opinion"],
        opinion_by=row["opinion_by"],
        opinion_reason=row["opinion_reason"],
    )


def examples(db: Database, pack_row: Row, rule: str, limit: int, offset: int) -> list[LeakExample]:
    """A page of what the rules found of a pack, each row beside its item."""
    hits = leaks.hits(db, pack_row["id"], rule, limit, offset)
    found = {pair.id: pair for pair in pairs.get(db, [hit["pair_id"] for hit in hits])}
    told = []
    for hit in hits:
        row = found[hit["pair_id"]]
        sides = {
            "prompt": conversation_text(row.messages),
            "answer": row.final_answer,
            "reasoning": row.reasoning,
        }
        item, text = hit[hit["item_side"]], sides[hit["row_side"]]
        told.append(
            LeakExample(
                pair_id=row.id,
                pack=pack_row["name"],
                **{key: hit[key] for key in _SAME},
                item_text=_shortened(mark_shared(item, text)),
                row_text=_shortened(mark_shared(text, item)),
            )
        )
    return told


_SAME = (
    "item", "label", "rule", "item_side", "row_side", "coverage", "shared", "text_hash", "status",
    "verdict",
)  # fmt: skip


def _shortened(pieces: Sequence[Piece]) -> list[tuple[str, str]]:
    """The pieces with what lies far from shared words cut out, and an end where it gets long."""
    found: list[tuple[str, str]] = []
    size = 0
    for number, piece in enumerate(pieces):
        text = piece.text
        if piece.where != "both" and len(text) > 2 * _AROUND:
            before = "" if number == 0 else text[:_AROUND]
            after = "" if number == len(pieces) - 1 else text[-_AROUND:]
            text = f"{before} … {after}"
        found.append((piece.where, text[: _CUT - size]))
        size += len(text)
        if size >= _CUT:
            found.append(("left", " …"))
            break
    return found
