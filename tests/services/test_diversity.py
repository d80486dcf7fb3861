"""Topics, the map, rows set aside and selections over a real store."""

import shutil

import numpy as np
import pytest

from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import (
    Conflict,
    InvalidInput,
    NotAllowed,
    NotFound,
    TeacherSpendLimit,
)
from distill_studio.core.protocols import ChatReply
from distill_studio.core.records import Decision, DecisionKind, JobState, Message, Pair
from distill_studio.core.settings import Settings
from distill_studio.curate.diversity.reports import MapArea
from distill_studio.services import diversity_views, diversity_work, operations
from distill_studio.store import decisions, pairs

KINDS = {
    "poem": "Write a poem about the {} sea and its gulls, verse {}",
    "python": "Sort this python list of {} numbers with a function, case {}",
    "capital": "What is the capital city of the country {}, in region {}",
}
GOOD = "A long enough answer with plenty of words to pass every filter that there is, number {}."


class Kinds:
    """An embedder that knows three kinds of prompts and a little of their words."""

    model = "kinds"
    dim = 16

    def windows(self, text):
        return [text]

    def embed(self, texts):
        rows = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for k, kind in enumerate(KINDS):
                row[k] = 3.0 * (kind in text.lower())
            for word in text.split():
                row[3 + sum(word.encode()) % 13] += 0.3
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


@pytest.fixture
def diversity(workspace, monkeypatch):
    made = Kinds()
    monkeypatch.setattr(workspace.studio.models, "embedder", lambda *_: made, raising=False)
    return workspace.diversity


_count = iter(range(10**6))


def store(workspace, kind, count, **fields):
    rows = []
    for _ in range(count):
        n = next(_count)
        rows.append(
            Pair(
                seed_id=f"seed-{n}",
                messages=(Message(role="user", content=KINDS[kind].format(n, n * 7)),),
                answer=GOOD.format(n),
                job_id="test",
                **fields,
            )
        )
    pairs.insert(workspace.db, rows)
    return [row.id for row in rows]


def done(workspace, owner, job):
    ended = workspace.jobs.wait(owner, job.id, 60)
    assert ended.state is JobState.DONE, ended.error
    return ended.result


def accept(workspace, pair_id):
    said = Decision(id=f"decision-{next(_count)}", pair_id=pair_id, kind=DecisionKind.ACCEPT)
    decisions.record(workspace.db, "owner", [said])


def states(workspace):
    rows = workspace.db.rows("SELECT id, curation, curation_reason FROM pairs ORDER BY id")
    return {row["id"]: (row["curation"], row["curation_reason"]) for row in rows}


@pytest.fixture(scope="module")
def template(tmp_path_factory, starter_cache):
    """A data folder with 30 poems, 20 Python questions and 10 capitals in three topics."""
    home = tmp_path_factory.mktemp("template") / "home"
    studio = build_studio(Settings(home=home, cache=starter_cache, port=0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studio.models, "embedder", lambda *_: Kinds(), raising=False)
        workspace = studio.workspace("main")
        ids = {
            kind: store(workspace, kind, n)
            for kind, n in (("poem", 30), ("python", 20), ("capital", 10))
        }
        somebody = Actor(user="owner", role=Role.OWNER)
        done(workspace, somebody, workspace.diversity.find(somebody, topics=3))
    studio.close()
    return home, ids


@pytest.fixture
def settings(request, settings):
    """Tests that ask for `mapped` begin with a copy of the template."""
    if "mapped" in request.fixturenames:
        shutil.copytree(request.getfixturevalue("template")[0], settings.home)
    return settings


@pytest.fixture
def mapped(template):
    """Ids by kind of the rows in the workspace."""
    return template[1]


# -- topics ---------------------------------------------------------------------------------


def test_topics_are_named_counted_and_on_the_map(mapped, diversity, owner):
    state = diversity.topics(owner)
    assert [topic.rows for topic in state.topics] == [30, 20, 10]
    assert [kind in t.terms for kind, t in zip(KINDS, state.topics, strict=True)] == [True] * 3
    assert state.unassigned == 0
    assert 2.7 < state.effective < 2.8
    assert state.trust > 0
    points = diversity.points(owner)
    assert points.total == len(points.x) == 60
    assert sorted(set(points.cluster)) == [0, 1, 2]
    assert set(points.state) == {1}
    shown = diversity.point(owner, points.run, points.number[0])
    assert shown.prompt.startswith(("Write", "Sort", "What"))


def test_new_rows_join_the_nearest_topic_and_nothing_else_moves(
    workspace, mapped, diversity, owner
):
    before = diversity.points(owner)
    run = diversity.topics(owner).run
    store(workspace, "capital", 2)
    assert diversity.topics(owner).unassigned == 2
    assert done(workspace, owner, diversity.find(owner))["assigned"] == 2
    state = diversity.topics(owner)
    assert (state.run, state.unassigned) == (run, 0)
    assert [topic.rows for topic in state.topics] == [30, 20, 12]
    after = diversity.points(owner)
    assert set(zip(before.x, before.y, strict=True)) <= set(zip(after.x, after.y, strict=True))
    assert done(workspace, owner, diversity.find(owner))["assigned"] == 0


def test_the_same_rows_give_the_same_topics_and_map(workspace, mapped, diversity, owner):
    before = diversity.points(owner)
    done(workspace, owner, diversity.find(owner, topics=3, anew=True))
    after = diversity.points(owner)
    assert after.run == before.run + 1
    assert (after.x, after.y, after.cluster) == (before.x, before.y, before.cluster)


def test_a_persons_name_wins_and_survives(workspace, mapped, diversity, owner):
    assert diversity.rename(owner, 2, "  Capitals  of the world ").topics[2].name == (
        "Capitals of the world"
    )
    store(workspace, "capital", 3)
    done(workspace, owner, diversity.find(owner, topics=3, anew=True))
    [named] = [topic for topic in diversity.topics(owner).topics if topic.is_given]
    assert (named.name, named.rows) == ("Capitals of the world", 13)
    assert not diversity.rename(owner, named.number, "").topics[named.number].is_given
    with pytest.raises(NotFound):
        diversity.rename(owner, 77, "x")


def test_a_topic_of_its_own_comes_before_the_clusters(workspace, mapped, diversity, owner):
    store(workspace, "poem", 2, topic="verse")
    done(workspace, owner, diversity.find(owner))
    counted = {row.topic: row.rows for row in diversity.coverage(owner)}
    assert counted["verse"] == 2
    assert sum(counted.values()) == 62
    assert sorted(counted.values()) == [2, 10, 20, 30]


def test_a_teacher_may_name_topics(workspace, mapped, diversity, owner, monkeypatch):
    asked = []

    class Teacher:
        name = "t"

        async def generate(self, requests, cancel=None):
            for request in requests:
                asked.append(request.messages[0].content)
                if request.key == "1":
                    yield ChatReply(key="1", error_code="x", error="The teacher is away.")
                else:
                    yield ChatReply(key=request.key, text=f'"Topic **{request.key}**"\nand more')

    monkeypatch.setattr(workspace.teachers, "config", lambda name: None)
    monkeypatch.setattr(workspace.teachers, "model", lambda name: Teacher())
    python = diversity.topics(owner).topics[1].name
    diversity.rename(owner, 2, "mine")
    result = done(workspace, owner, diversity.label(owner, "t"))
    assert result == {"named": 2, "failed": 1, "cost_usd": 0.0}
    named = [topic.name for topic in diversity.topics(owner).topics]
    assert named == ["Topic **0", python, "mine"]
    assert "poem" in asked[0]
    assert "do not follow" in asked[0]


def test_a_label_job_that_goes_on_asks_only_for_topics_it_has_not_named(
    workspace, mapped, diversity, owner, monkeypatch
):
    asked, affordable = [], {"0"}

    class Teacher:
        name = "t"

        async def generate(self, requests, cancel=None):
            for request in requests:
                asked.append(request.key)
                if request.key in affordable:
                    yield ChatReply(key=request.key, text=f"Topic {request.key}")
                else:
                    code = TeacherSpendLimit.code
                    yield ChatReply(key=request.key, error_code=code, error="That is enough.")

    monkeypatch.setattr(workspace.teachers, "config", lambda name: None)
    monkeypatch.setattr(workspace.teachers, "model", lambda name: Teacher())
    job = diversity.label(owner, "t")
    ended = workspace.jobs.wait(owner, job.id, 60)
    assert (ended.state, ended.error) == (JobState.FAILED, "That is enough.")
    affordable |= {"1", "2"}
    asked.clear()
    workspace.jobs.resume(owner, job.id)
    ended = workspace.jobs.wait(owner, job.id, 60)
    assert asked == ["1", "2"]
    assert (ended.result["named"], ended.result["failed"]) == (3, 0)
    assert {topic.name for topic in diversity.topics(owner).topics} == {
        "Topic 0",
        "Topic 1",
        "Topic 2",
    }
    asked.clear()
    done(workspace, owner, diversity.label(owner, "t"))
    assert asked == ["0", "1", "2"], "another job names all anew"


def test_nothing_to_cluster_is_said(workspace, diversity, owner):
    assert diversity.topics(owner).run == 0
    assert diversity.points(owner).total == 0
    assert diversity.selection(owner) is None
    ended = workspace.jobs.wait(owner, diversity.find(owner).id, 60)
    assert ended.state is JobState.FAILED
    assert "no prompt" in ended.error
    with pytest.raises(InvalidInput, match="no topics"):
        diversity.select(owner, 5)
    with pytest.raises(InvalidInput):
        diversity.find(owner, topics=10**6)


# -- the map --------------------------------------------------------------------------------


def square_around(points, cluster):
    own = np.array([c == cluster for c in points.cluster])
    x, y = np.array(points.x)[own], np.array(points.y)[own]
    left, right, low, high = x.min() - 0.01, x.max() + 0.01, y.min() - 0.01, y.max() + 0.01
    return [(left, low), (right, low), (right, high), (left, high)]


def test_a_lasso_sets_rows_aside_and_undo_brings_them_back(workspace, mapped, diversity, owner):
    accept(workspace, mapped["poem"][0])
    before = states(workspace)
    points = diversity.points(owner)
    area = MapArea(polygon=square_around(points, 0), topics=[0])
    found = diversity.area(owner, points.run, area)
    assert (found.rows, found.kept, found.accepted, found.would_go) == (30, 30, 1, 29)
    assert found.would_go_rest == 30
    assert 1 <= len(found.examples) <= 6
    result = diversity.set_aside(owner, points.run, area)
    assert (result.listed, result.changed, result.kept) == (29, 29, 31)
    after = states(workspace)
    assert after[mapped["poem"][0]][0] == "kept"
    assert after[mapped["poem"][1]] == ("filtered", "set_aside: set aside on the map by owner")
    assert diversity.topics(owner).set_aside == 29
    state = workspace.curate.state(owner)
    assert state.outdated == 0
    workspace.curate.undo(owner)
    assert states(workspace) == before
    assert workspace.curate.state(owner).outdated == 0
    assert diversity.topics(owner).set_aside == 0


def test_topics_do_what_the_lasso_does_and_steps_add_up(workspace, mapped, diversity, owner):
    run = diversity.topics(owner).run
    diversity.set_aside(owner, run, MapArea(topics=[2]))
    assert diversity.topics(owner).topics[2].kept == 0
    result = diversity.set_aside(owner, run, MapArea(topics=[0]), keep_only=True)
    assert result.kept == 30
    assert {state for state, _ in states(workspace).values()} == {"kept", "filtered"}
    workspace.curate.settle(owner)  # applying again changes nothing
    assert workspace.curate.state(owner).kept == 30
    # filters chosen on the tab, which does not know of the lists, leave them in force
    filters = [f for f in workspace.curate.state(owner).settings.filters if f.kind == "length"]
    assert workspace.curate.apply(owner, filters=filters).kept == 30
    new = store(workspace, "python", 1)
    workspace.curate.settle(owner)
    assert states(workspace)[new[0]][0] == "kept"
    assert diversity.put_back(owner).kept == 61
    workspace.curate.undo(owner)
    assert workspace.curate.state(owner).kept == 31


def test_an_area_of_accepted_rows_cannot_go(workspace, mapped, diversity, owner):
    for one in mapped["capital"]:
        accept(workspace, one)
    run = diversity.topics(owner).run
    with pytest.raises(InvalidInput, match="accepted rows"):
        diversity.set_aside(owner, run, MapArea(topics=[2]))
    with pytest.raises(InvalidInput, match="No part"):
        diversity.set_aside(owner, run, MapArea())
    with pytest.raises(Conflict):
        diversity.area(owner, run - 1, MapArea(topics=[1]))
    with pytest.raises(NotFound):
        diversity.point(owner, run, 10**6)


def test_points_in_polygons():
    x, y = np.meshgrid(np.linspace(-2, 2, 41), np.linspace(-2, 2, 41))
    x, y = x.ravel() + 0.013, y.ravel() + 0.017
    square = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], float)
    expected = (abs(x) < 1) & (abs(y) < 1)
    assert np.array_equal(diversity_views.in_polygon(x, y, square), expected)
    diamond = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)], float)
    found = diversity_views.in_polygon(x, y, diamond)
    assert np.array_equal(found, abs(x) + abs(y) < 1)
    assert not diversity_views.in_polygon(x, y, square[:2]).any()


# -- selection ------------------------------------------------------------------------------


def test_methods_are_compared_and_a_choice_is_applied(workspace, mapped, diversity, owner):
    accept(workspace, mapped["capital"][3])
    job = diversity.select(owner, 6, methods=["facility_location", "k_centre"])
    done(workspace, owner, job)
    report = diversity.selection(owner)
    by_method = {one.method: one for one in report.methods}
    assert list(by_method) == ["facility_location", "k_centre", "random", "all"]
    assert (report.candidates, report.fixed, report.recall, report.topics) == (60, 1, 1.0, 3)
    assert by_method["facility_location"].topics == 3
    assert by_method["facility_location"].coverage >= by_method["random"].coverage
    assert by_method["all"].coverage == pytest.approx(1, abs=1e-4)
    assert {one.rows for one in report.methods} == {6, 60}
    assert set(state for state, _ in states(workspace).values()) == {"kept"}

    result = diversity.choose(owner, report.number, "facility_location")
    assert (result.listed, result.kept) == (54, 6)
    reason = "set_aside: not selected by facility location (6 rows), owner"
    gone = [s for s in states(workspace).values() if s == ("filtered", reason)]
    assert len(gone) == 54
    assert states(workspace)[mapped["capital"][3]][0] == "kept"

    done(workspace, owner, diversity.select(owner, 12))  # from all again, not from the six
    assert diversity.selection(owner).candidates == 60
    number = diversity.selection(owner).number
    assert diversity.choose(owner, number, "random").kept == 12
    workspace.curate.undo(owner)
    assert workspace.curate.state(owner).kept == 6
    workspace.curate.undo(owner)
    assert workspace.curate.state(owner).kept == 60


def test_rows_set_aside_on_the_map_are_no_candidates(workspace, mapped, diversity, owner):
    diversity.set_aside(owner, diversity.topics(owner).run, MapArea(topics=[0]))
    done(workspace, owner, diversity.select(owner, 100))
    report = diversity.selection(owner)
    assert (report.candidates, report.count) == (30, 30)
    with pytest.raises(InvalidInput, match="Every row"):
        diversity.choose(owner, report.number, "random")
    with pytest.raises(NotFound):
        diversity.choose(owner, report.number, "k_center_of_old")


def test_held_out_bits_are_there_when_enough_rows_are(workspace, mapped, diversity, owner):
    store(workspace, "poem", 160)
    done(workspace, owner, diversity.select(owner, 20, methods=[]))
    report = diversity.selection(owner)
    assert report.held_out == 22
    assert [one.method for one in report.methods] == ["random", "all"]
    assert 1 < report.methods[0].bits < 20
    assert diversity.selection(owner, report.number) == report
    assert diversity.selection(owner, 999) is None


def test_quality_is_a_rank_and_accepted_rows_are_best():
    quality = diversity_work.quality_of(
        ["pending", "accepted", "pending", "pending", "pending"], [2.0, None, 9.0, None, 2.0]
    )
    assert quality.tolist() == [0.75, 1.0, 1.0, 0.75, 0.75]
    assert diversity_work.quality_of(["pending"] * 2, [None, None]).tolist() == [1, 1]


# -- copies of what is set aside ------------------------------------------------------------


def copies_of(workspace, ids, upper=True):
    """A copy of each row, but for case, from another seed; they join the topics at once."""
    rows = [
        Pair(
            seed_id=f"copy-{next(_count)}",
            messages=(Message(role="user", content=row.prompt.upper() if upper else row.prompt),),
            answer=row.answer + "!",
            job_id="copies",
        )
        for row in pairs.get(workspace.db, ids)
    ]
    pairs.insert(workspace.db, rows)
    return [row.id for row in rows]


def kept(workspace):
    return {one for one, (state, _) in states(workspace).items() if state == "kept"}


def test_a_choice_of_n_keeps_n_whatever_has_copies(workspace, mapped, diversity, owner):
    rng = np.random.default_rng(5)
    everyone = [one for ids in mapped.values() for one in ids]
    for _ in range(2):  # some rows have two copies
        copies_of(workspace, [str(one) for one in rng.choice(everyone, 20, replace=False)])
    done(workspace, owner, diversity.find(owner))
    workspace.curate.apply(owner)
    before = states(workspace)
    assert kept(workspace) == set(everyone)
    for count in (1, 7, 25):
        done(workspace, owner, diversity.select(owner, count))
        report = diversity.selection(owner)
        assert report.candidates == 60
        for method in ("facility_location", "k_centre", "random"):
            result = diversity.choose(owner, report.number, method)
            assert (result.kept, len(kept(workspace))) == (count, count), method
            assert kept(workspace) <= set(everyone)
            assert workspace.curate.state(owner).outdated == 0
    diversity.put_back(owner)
    assert states(workspace) == before


@pytest.mark.parametrize("keep_only", [False, True])
def test_what_is_set_aside_takes_its_copies_along(workspace, mapped, diversity, owner, keep_only):
    poem, city = mapped["poem"][:2], mapped["capital"][:2]
    upper = copies_of(workspace, [*poem, *city])
    accept(workspace, poem[1])
    done(workspace, owner, diversity.find(owner))
    workspace.curate.apply(owner)
    before = states(workspace)
    assert {before[one][0] for one in upper} == {"duplicate"}
    run = diversity.topics(owner).run
    topics = [1, 2] if keep_only else [0]
    plan = diversity.set_aside(owner, run, MapArea(topics=topics), keep_only=keep_only)
    now = states(workspace)
    assert now[upper[0]] == ("filtered", f"set_aside: set aside with {poem[0]}")
    assert now[upper[1]] == before[upper[1]], "an accepted row stays, and stands for its copy"
    assert [now[one] for one in upper[2:]] == [before[one] for one in upper[2:]]
    assert plan.kept == len(kept(workspace)) == 31
    why = workspace.curate.explain(owner, upper[0])
    assert (why.code, why.lost_to.pair_id) == ("set_aside", poem[0])
    report = workspace.curate.plan_report(owner)
    assert (report.changed, report.kept) == (0, 31)
    assert sum(report.by_reason.values()) == sum(one.removed for one in report.by_topic)
    assert workspace.curate.dedup_preview(owner).removed == 3
    accept(workspace, upper[0])  # now the copy stands for itself
    workspace.curate.settle(owner)
    assert upper[0] in kept(workspace)
    workspace.curate.undo(owner)
    workspace.curate.undo(owner)
    assert states(workspace) == before


# -- who may --------------------------------------------------------------------------------


def test_viewers_look_and_reviewers_act(mapped, diversity):
    viewer = Actor(user="v", role=Role.VIEWER)
    assert diversity.topics(viewer).run
    for act in (
        lambda: diversity.find(viewer),
        lambda: diversity.rename(viewer, 0, "x"),
        lambda: diversity.set_aside(viewer, 1, MapArea(topics=[0])),
        lambda: diversity.put_back(viewer),
        lambda: diversity.select(viewer, 3),
        lambda: diversity.choose(viewer, 1, "random"),
        lambda: diversity.label(viewer, "t"),
    ):
        with pytest.raises(NotAllowed):
            act()


def test_everything_is_an_operation():
    names = {name for name in operations.operations() if name.startswith("diversity_")}
    words = "find topics coverage rename label points point area set_aside put_back select"
    assert names == {f"diversity_{word}" for word in (*words.split(), "selection", "choose")}
