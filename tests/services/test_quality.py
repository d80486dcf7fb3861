"""Losses of answers from a job: stored, filtered by limits with previews, missing after an edit."""

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import NotAllowed, NotFound
from distill_studio.core.ids import new_id
from distill_studio.core.records import Decision, DecisionKind, JobState, Message, Pair
from distill_studio.curate.filters import LikelihoodConfig
from distill_studio.store import likelihoods, pairs
from tests.tiny_model import build_tiny_model

SMOLLM = "base:smollm2-135m-instruct"


def store(workspace, rows):
    made = [
        Pair(
            seed_id=new_id(), messages=(Message(role="user", content=prompt),), answer=answer,
            topic="t",
        )
        for k, (prompt, answer) in enumerate(rows)
    ]  # fmt: skip
    pairs.insert(workspace.db, made)
    return [row.id for row in made]


def run(workspace, owner, model):
    job = workspace.quality.score(owner, model)
    ended = workspace.jobs.wait(owner, job.id, timeout_s=120)
    assert ended.state is JobState.DONE, ended.error
    return ended.result


@pytest.fixture
def tiny(studio):
    folder = studio.settings.cache_folder / "models" / "tiny"
    build_tiny_model(folder)
    yield "base:tiny"
    studio.models.unload(str(folder))


def test_score_filter_edit_and_score_again(workspace, owner, tiny):
    ids = store(
        workspace, [(f"say {word}", f"{word} sun moon {word}") for word in ("red", "blue", "cat")]
    )
    blank = store(workspace, [("nothing", "  ")])
    assert tiny in [model.id for model in workspace.quality.models(owner)]
    assert run(workspace, owner, tiny)["scored"] == 3
    assert run(workspace, owner, tiny)["scored"] == 0
    scored = workspace.quality.scored(owner)[0]
    assert (scored.model, scored.rows, scored.missing) == (tiny, 3, 0)
    assert workspace.quality.of_pair(owner, blank[0]) == []

    found = {i: workspace.quality.of_pair(owner, i)[0] for i in ids}
    ifd = sorted(quality.ifd for quality in found.values())
    between = (ifd[1] + ifd[2]) / 2
    preview = workspace.curate.preview(owner, [LikelihoodConfig(is_on=True, max_ifd=between)])
    one = next(f for f in preview.filters if f.kind == "likelihood")
    assert one.drops == preview.dropped == 1
    assert len(one.kept) == 2
    assert one.dropped[0].reason == f"IFD {ifd[2]:.3f}, not below {between:g}"
    exactly = [LikelihoodConfig(is_on=True, max_ifd=ifd[2])]
    assert workspace.curate.preview(owner, exactly).dropped == 1, "the limit itself goes"
    rare = [LikelihoodConfig(is_on=True, max_ifd=0, max_perplexity=1.0)]
    assert workspace.curate.preview(owner, rare).dropped == 3

    report = workspace.curate.apply(owner, [LikelihoodConfig(is_on=True, max_ifd=between)])
    asked = next(c for c in report.settings.filters if isinstance(c, LikelihoodConfig))
    assert asked.model == tiny, "what scored is part of what was applied"
    edit = Decision(id=new_id(), pair_id=ids[0], kind=DecisionKind.EDIT, answer="moon")
    workspace.review.decide(owner, [edit])
    assert workspace.quality.of_pair(owner, ids[0]) == [], "the score was of another text"
    assert workspace.quality.scored(owner)[0].missing == 1
    assert run(workspace, owner, tiny)["scored"] == 1


def test_a_stop_keeps_what_was_scored(workspace, owner, tiny, monkeypatch):
    monkeypatch.setattr("distill_studio.services.quality._PAGE_ROWS", 4)
    store(workspace, [(f"say {k}", "red " * (k + 1)) for k in range(12)])
    real = likelihoods.save

    def save(db, model, rows):
        real(db, model, rows)
        for job in workspace.jobs.page(owner, kinds=["likelihood"], active=True):
            workspace.jobs.cancel(owner, job.id)

    monkeypatch.setattr(likelihoods, "save", save)
    job = workspace.jobs.wait(owner, workspace.quality.score(owner, tiny).id, timeout_s=60)
    assert job.state is JobState.CANCELLED
    kept = workspace.quality.scored(owner)[0].rows
    assert 0 < kept < 12
    monkeypatch.setattr(likelihoods, "save", real)
    workspace.jobs.resume(owner, job.id)
    job = workspace.jobs.wait(owner, job.id, timeout_s=60)
    assert job.result["scored"] == 12 - kept


def test_models_that_are_not_there_and_who_may(workspace, owner):
    with pytest.raises(NotFound, match="No model 'x' runs"):
        workspace.quality.score(owner, "x")
    with pytest.raises(NotAllowed):
        workspace.quality.score(Actor(user="v", role=Role.VIEWER))


@pytest.mark.slow
@pytest.mark.models
def test_the_starter_finds_the_answer_to_another_question_harder(workspace, owner, starter_cache):
    """IFD of right answers lies below that of the same answers under other questions."""
    rows = [
        ("What is the capital of France?", "The capital of France is Paris."),
        ("How do bees make honey?", "Bees make honey from the nectar that they collect."),
        ("Why is the sky blue?", "The sky is blue because air scatters blue light most."),
        ("What is 7 times 8?", "7 times 8 is 56."),
    ]
    swapped = [(rows[(k + 1) % 4][0], answer) for k, (_, answer) in enumerate(rows)]
    right, wrong = store(workspace, rows), store(workspace, swapped)
    assert run(workspace, owner, SMOLLM)["scored"] == 8
    ifd = {i: workspace.quality.of_pair(owner, i)[0].ifd for i in [*right, *wrong]}
    assert all(ifd[a] < ifd[b] for a, b in zip(right, wrong, strict=True))
    assert all(ifd[a] < 1 for a in right)
