"""Who said what of which record or couple, for measuring people, judges and models.

What a bulk decided or an import marked was not read one by one, and an adjudicator's final word
comes after the others': neither is a verdict here.
"""

from collections.abc import Sequence

from distill_studio.store.database import Database, Row
from distill_studio.store.pairs import MODEL, WAY_BACK

# Newest decision of each person on each record that is not taken back.
_READ = """SELECT d.* FROM decisions d
    ANTI JOIN decisions_taken_back t ON t.user_name = d.user_name AND t.id = d.id
    WHERE d.kind IN ('accept', 'edit', 'reject')
      AND coalesce(d.bulk_id, '') = '' AND NOT starts_with(d.id, 'import:')
      AND NOT coalesce(d.is_final, false)
    QUALIFY row_number() OVER (PARTITION BY d.user_name, d.pair_id ORDER BY d.seq DESC) = 1"""
_BY_PEOPLE = "('person', 'arena')"
# What a student lost is compared because it lost: such votes say nothing of who is the better one.
_NOT_CHOSEN = f"c.recipe <> '{WAY_BACK}'"
# Votes cast before their voter was told who wrote which answer (`votes.is_blind`). The others are
# rows for training, but no verdicts.
_BLIND = "(SELECT * FROM votes_in_force WHERE is_blind)"
_BLIND_PREFERENCES = """(SELECT p.* FROM preferences p
    ANTI JOIN (SELECT user_name, id FROM votes WHERE NOT is_blind) s
        ON s.user_name = p.user_name AND s.id = p.vote_id)"""
# One name may have stood for several models: a run that was trained anew under the name of one that
# was deleted, a teacher whose model was changed. Side by side an answer keeps which model its name
# stood for then, and when it was asked.
_TOLD_APART = """side_by_side AS (
        SELECT p.id, p.teacher, split_part(p.model, ' at ', 1) AS model,
            k.created_at < r.created_at AS is_of_earlier_run
        FROM pairs p JOIN comparisons k ON k.id = p.job_id LEFT JOIN runs r ON r.name = p.model
        WHERE p.recipe = 'compare'
    ), earlier AS (SELECT id FROM side_by_side WHERE is_of_earlier_run
    ), edited AS (
        SELECT teacher FROM side_by_side WHERE teacher <> '' AND model <> ''
        GROUP BY teacher HAVING count(DISTINCT model) > 1
    )"""
_CONTESTANT = f"""CASE
        WHEN {{p}}.id IN (SELECT id FROM earlier) THEN {{p}}.teacher || ' (an earlier run)'
        WHEN {{p}}.teacher IN (SELECT teacher FROM edited) AND {{p}}.model <> ''
            THEN {{p}}.teacher || ' (' || split_part({{p}}.model, ' at ', 1) || ')'
        ELSE {MODEL} END"""
_PAUSE_S = 300.0  # a longer gap between two decisions is a break, not reading
_JUDGE = """coalesce(nullif({user}, ''),
    CASE WHEN coalesce(json_extract_string({params}, '$.judged.model'), '')
        IN ('', json_extract_string({params}, '$.judged.judge'))
    THEN json_extract_string({params}, '$.judged.judge')
    ELSE json_extract_string({params}, '$.judged.judge') || ' ('
        || json_extract_string({params}, '$.judged.model') || ')' END, 'judge')"""
_WORDS = "len(regexp_split_to_array(trim(coalesce({p}.edited_answer, {p}.answer)), '\\s+'))"


def decisions(db: Database) -> list[Row]:
    """Every person's decision on every record: `rater`, `item`, `cluster`, `label`, `topic`."""
    return db.rows(
        f"""SELECT d.user_name AS rater, d.pair_id AS item, p.seed_id AS "cluster",
        d.kind AS label, p.topic
        FROM ({_READ}) d JOIN pairs p ON p.id = d.pair_id ORDER BY d.seq"""
    )


def has_shared_decisions(db: Database) -> bool:
    """Whether two people decided on one record; cheap beside reading all decisions."""
    found = db.row(
        """SELECT 1 AS one FROM decisions GROUP BY pair_id
        HAVING count(DISTINCT user_name) > 1 LIMIT 1"""
    )
    return found is not None


def votes(db: Database, *, at_random: bool = False) -> list[Row]:
    """Every person's blind vote on every couple, repeats and skips left out.

    Columns: `rater`, `left_id`, `right_id`, `cluster`, `outcome`, `topic`, `left_words`,
    `right_words`. `at_random` leaves out what is compared because a student lost it.
    """
    return db.rows(
        f"""SELECT v.user_name AS rater, v.left_pair_id AS left_id, v.right_pair_id AS right_id,
        v.seed_id AS "cluster", v.outcome, l.topic,
        {_WORDS.format(p="l")} AS left_words, {_WORDS.format(p="r")} AS right_words
        FROM {_BLIND} v JOIN pairs l ON l.id = v.left_pair_id
        JOIN pairs r ON r.id = v.right_pair_id
        WHERE v.repeats = '' AND v.outcome <> 'skip' AND v.source IN {_BY_PEOPLE}
          AND NOT v.is_final AND (NOT ? OR l.recipe <> '{WAY_BACK}')
        ORDER BY v.seq""",
        [at_random],
    )


def vote_sides(db: Database) -> list[Row]:
    """Per voter, repeats included: `rater`, `left`, `right`, `tie`, `both_bad`, `skip`, `sighted`.

    Comparisons of models side by side count as well. A ranking has no sides: it counts in
    `rankings` alone. What was said with the names shown counts in `sighted` alone.
    """
    return db.rows(
        f"""SELECT user_name AS rater,
        count(*) FILTER (outcome = 'left' AND NOT is_ranking AND is_blind) AS "left",
        count(*) FILTER (outcome = 'right' AND NOT is_ranking AND is_blind) AS "right",
        count(*) FILTER (outcome = 'tie' AND NOT is_ranking AND is_blind) AS tie,
        count(*) FILTER (outcome = 'both_bad' AND NOT is_ranking AND is_blind) AS both_bad,
        count(*) FILTER (outcome = 'skip' AND NOT is_ranking) AS skip,
        count(DISTINCT task_id) FILTER (is_ranking AND outcome <> 'skip' AND is_blind) AS rankings,
        count(DISTINCT task_id) FILTER (NOT is_blind AND outcome <> 'skip') AS sighted
        FROM votes_in_force
        WHERE source IN {_BY_PEOPLE} GROUP BY 1 ORDER BY 1"""
    )


def decision_counts(db: Database) -> list[Row]:
    """Per person what is in force: `rater`, `accept`, `edit`, `reject` read one by one; `bulk`."""
    return db.rows(
        f"""WITH read AS ({_READ}), bulk AS (
            SELECT d.user_name, count(DISTINCT d.pair_id) AS bulk FROM decisions d
            ANTI JOIN decisions_taken_back t ON t.user_name = d.user_name AND t.id = d.id
            WHERE d.kind IN ('accept', 'reject') AND coalesce(d.bulk_id, '') <> '' GROUP BY 1)
        SELECT rater, coalesce(accept, 0) AS accept, coalesce(edit, 0) AS edit,
            coalesce(reject, 0) AS reject, coalesce(bulk, 0) AS bulk
        FROM (SELECT user_name AS rater, count(*) FILTER (kind = 'accept') AS accept,
            count(*) FILTER (kind = 'edit') AS edit, count(*) FILTER (kind = 'reject') AS reject
            FROM read GROUP BY 1) r
        FULL JOIN (SELECT user_name AS rater, bulk FROM bulk) b USING (rater) ORDER BY rater"""
    )


def paces(db: Database) -> list[Row]:
    """Median seconds from one to the next: `rater`, `of` (decisions or votes), `seconds`, `n`.

    A gap of more than five minutes is a break and does not count, nor does a vote that is given
    again to say how clearly or why, nor one that ends in a ranking.
    """
    return db.rows(
        f"""WITH moments AS (
            SELECT user_name AS rater, 'decisions' AS "of", made_at, seq, false AS is_ranking
            FROM decisions
            WHERE kind IN ('accept', 'edit', 'reject', 'skip')
              AND coalesce(bulk_id, '') = '' AND NOT starts_with(id, 'import:')
            UNION ALL
            SELECT v.user_name, 'votes', min(v.made_at), min(v.seq),
                any_value(len(t.pair_ids) > 0)
            FROM votes v JOIN comparison_tasks t ON t.id = v.task_id
            WHERE v.outcome <> 'undo' AND t.source = 'person' GROUP BY v.user_name, v.task_id
        ), gaps AS (
            SELECT rater, "of", is_ranking, epoch(made_at) - epoch(lag(made_at) OVER (
                PARTITION BY rater, "of" ORDER BY made_at, seq)) AS gap FROM moments
        )
        SELECT rater, "of", median(gap) AS seconds, count(*) AS n FROM gaps
        WHERE gap <= {_PAUSE_S} AND NOT is_ranking GROUP BY ALL ORDER BY ALL"""
    )


def repeats(db: Database) -> list[Row]:
    """Comparisons voted on twice, blind: `rater`, the `first` outcome and the `again` one, as seen.

    Also `cluster` and `task`: a repeated ranking is a row for every two of its answers.
    """
    return db.rows(
        f"""SELECT r.user_name AS rater, o.outcome AS first, r.outcome AS again,
        r.seed_id AS "cluster", r.task_id AS task
        FROM {_BLIND} r
        JOIN {_BLIND} o ON o.task_id = r.repeats AND o.user_name = r.user_name
            AND o.left_pair_id = r.right_pair_id AND o.right_pair_id = r.left_pair_id
        WHERE r.repeats <> '' AND r.outcome <> 'skip' AND o.outcome <> 'skip' ORDER BY r.seq"""
    )


def judged_couples(db: Database) -> list[Row]:
    """What judges say of couples: `judge`, `first_id`, `second_id`, `cluster`, `outcome`, `topic`.

    Their stored preferences; and where people voted on a couple whose two answers one judge
    scored, the higher score (the same score is a tie).
    """
    user = _JUDGE.format(user="f.user_name", params="c.params")
    scored = _JUDGE.format(user="''", params="a.params")
    other = _JUDGE.format(user="''", params="b.params")
    return db.rows(
        f"""WITH said AS (
            SELECT {user} AS judge, f.chosen_pair_id AS first_id, f.rejected_pair_id AS second_id,
                f.seed_id AS "cluster", f.outcome, c.topic, f.id
            FROM preferences f JOIN pairs c ON c.id = f.chosen_pair_id
            WHERE f.source = 'judge' AND {_NOT_CHOSEN}
        ), couples AS (
            SELECT DISTINCT least(left_pair_id, right_pair_id) AS x,
                greatest(left_pair_id, right_pair_id) AS y
            FROM votes_in_force WHERE source IN {_BY_PEOPLE} AND outcome <> 'skip'
        ), implied AS (
            SELECT {scored} AS judge,
                CASE WHEN a.judge_score >= b.judge_score THEN a.id ELSE b.id END AS first_id,
                CASE WHEN a.judge_score >= b.judge_score THEN b.id ELSE a.id END AS second_id,
                a.seed_id AS "cluster",
                CASE WHEN a.judge_score = b.judge_score THEN 'tie' ELSE 'win' END AS outcome,
                a.topic, '' AS id
            FROM couples JOIN pairs a ON a.id = x JOIN pairs b ON b.id = y
            WHERE a.judge_score IS NOT NULL AND b.judge_score IS NOT NULL AND {scored} = {other}
        )
        SELECT judge, first_id, second_id, "cluster", outcome, topic
        FROM (SELECT * FROM said UNION ALL SELECT * FROM implied)
        QUALIFY row_number() OVER (PARTITION BY judge, least(first_id, second_id),
            greatest(first_id, second_id) ORDER BY id DESC) = 1
        ORDER BY judge, first_id, second_id"""
    )


def judge_votes(db: Database) -> list[Row]:
    """What judges said of two answers, in so many words: the columns of `judged_couples`."""
    return db.rows(
        f"""SELECT {_JUDGE.format(user="f.user_name", params="c.params")} AS judge,
        f.chosen_pair_id AS first_id, f.rejected_pair_id AS second_id, f.seed_id AS "cluster",
        f.outcome, c.topic
        FROM preferences f JOIN pairs c ON c.id = f.chosen_pair_id
        WHERE f.source = 'judge' AND {_NOT_CHOSEN}
        QUALIFY row_number() OVER (PARTITION BY judge, least(first_id, second_id),
            greatest(first_id, second_id) ORDER BY f.id DESC) = 1
        ORDER BY judge, first_id, second_id"""
    )


def scored_decisions(db: Database) -> list[Row]:
    """People's decisions on answers that a judge scored.

    Columns: `judge`, `item`, `cluster`, `rater`, `label`, `score`, `is_share` (of wins, 0 to 1,
    not points of a rubric).
    """
    return db.rows(
        f"""SELECT {_JUDGE.format(user="''", params="p.params")} AS judge, p.id AS item,
        p.seed_id AS "cluster", d.user_name AS rater, d.kind AS label, p.judge_score AS score,
        json_extract(p.params, '$.judged.compared') IS NOT NULL AS is_share
        FROM ({_READ}) d JOIN pairs p ON p.id = d.pair_id
        WHERE p.judge_score IS NOT NULL ORDER BY judge, d.seq"""
    )


def checked_decisions(db: Database) -> list[Row]:
    """People's decisions on answers with a note of a verifier: also `params` (JSON)."""
    return db.rows(
        f"""SELECT p.id AS item, p.seed_id AS "cluster", d.user_name AS rater, d.kind AS label,
        p.params FROM ({_READ}) d JOIN pairs p ON p.id = d.pair_id
        WHERE json_extract(p.params, '$.verified') IS NOT NULL
           OR json_extract(p.params, '$.ensemble') IS NOT NULL
        ORDER BY d.seq"""
    )


def meetings(
    db: Database, sources: Sequence[str], user: str = "", *, sighted: bool = False
) -> list[Row]:
    """Preferences by model: `prompt`, `first`, `second`, `outcome`, lengths in characters.

    Models that had one name are told apart in it, as far as answers side by side say.

    Args:
        db: The store.
        sources: Of `preferences.source`.
        user: Only this voter or judge; '' for all.
        sighted: Also what people said when they had been told who wrote which answer.
    """
    return db.rows(
        f"""WITH {_TOLD_APART}
        SELECT f.seed_id AS prompt, {_CONTESTANT.format(p="c")} AS first,
        {_CONTESTANT.format(p="r")} AS second, f.outcome,
        length(coalesce(c.edited_answer, c.answer)) AS first_length,
        length(coalesce(r.edited_answer, r.answer)) AS second_length
        FROM {_preferences(sighted)} f JOIN pairs c ON c.id = f.chosen_pair_id
        JOIN pairs r ON r.id = f.rejected_pair_id
        WHERE f.source IN (SELECT unnest(?::VARCHAR[]))
          AND (? = '' OR {_JUDGE.format(user="f.user_name", params="c.params")} = ?)
          AND first <> '' AND second <> '' AND {_NOT_CHOSEN}
        ORDER BY f.id""",
        [list(sources), user, user],
    )


def meeting_counts(db: Database) -> list[Row]:
    """People's blind preferences by model: `first`, `second`, `outcome` and how many, `n`."""
    return db.rows(
        f"""SELECT {MODEL.format(p="c")} AS first, {MODEL.format(p="r")} AS second, f.outcome,
        count(*) AS n
        FROM {_BLIND_PREFERENCES} f JOIN pairs c ON c.id = f.chosen_pair_id
        JOIN pairs r ON r.id = f.rejected_pair_id
        WHERE f.source IN {_BY_PEOPLE} AND first <> '' AND second <> '' AND {_NOT_CHOSEN}
        GROUP BY ALL ORDER BY ALL"""
    )


def voters(db: Database, *, sighted: bool = False) -> list[Row]:
    """Who gave preferences that `meetings` may count: `source`, `voter`, `n`, most first."""
    return db.rows(
        f"""SELECT f.source, {_JUDGE.format(user="f.user_name", params="c.params")} AS voter,
        count(*) AS n FROM {_preferences(sighted)} f JOIN pairs c ON c.id = f.chosen_pair_id
        WHERE {_NOT_CHOSEN} GROUP BY ALL ORDER BY n DESC, source, voter"""
    )


def _preferences(sighted: bool) -> str:
    return "preferences" if sighted else _BLIND_PREFERENCES
