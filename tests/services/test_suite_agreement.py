"""Agreement with the teacher: who writes, who reads, what is refused, and the figures."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from distill_studio.core.actor import Actor
from distill_studio.core.errors import InvalidInput, TeacherError, Unavailable
from distill_studio.core.protocols import ChatModel, ChatReply
from distill_studio.core.records import JobState, Message, TeacherConfig, TeacherKind
from distill_studio.core.records.comparison import ModelCard, ModelRole
from distill_studio.core.records.suite import SuiteScorer
from distill_studio.distill.fidelity import FidelityReader
from distill_studio.distill.prune import keep_layers
from distill_studio.services.comparable_models import ComparableModels
from distill_studio.teachers.local import LocalChatModel
from tests.services.suite_models import finish, upload
from tests.tiny_model import build_tiny_model

ASKED = [
    {"prompt": f"say {word}", "topic": topic}
    for word, topic in [("red", "colour"), ("blue", "colour"), ("cat", "animal"), ("dog", "animal")]
]
KNOWN = [{**row, "reference": f"{row['prompt'][4:]} sun moon"} for row in ASKED]
NAMES = ["teacher:big", "base:raw", "student:small"]


class Counted(LocalChatModel):
    """A real local model that counts what it was asked, and fails once where told to."""

    asked = 0
    fails: tuple[str, ...] = ()

    async def generate(self, requests, cancel=None):
        self.asked += len(requests)
        failing = [r for r in requests if r.messages[-1].content in self.fails]
        self.fails = ()
        for request in failing:
            yield ChatReply(key=request.key, error_code="busy", error=str(TeacherError("Busy.")))
        others = [r for r in requests if r not in failing]
        async for reply in super().generate(others, cancel):
            yield reply


class Local(ComparableModels):
    """Tiny models in their folders; how they are asked and read is the real thing."""

    def __init__(self, workspace, folders: dict[str, Path]) -> None:
        super().__init__(workspace)
        self.folders = folders
        self.models = {
            name: Counted(
                name, resolve=lambda name: folders[name], cache_folder=folder.parent,
                device="cpu", dtype="float32",
            )
            for name, folder in folders.items()
        }  # fmt: skip

    def cards(self, actor: Actor) -> list[ModelCard]:
        return [
            ModelCard(id=name, label=name.partition(":")[2], role=ModelRole(name.partition(":")[0]))
            for name in self.folders
        ]

    def source(self, card: ModelCard) -> Callable[[], ChatModel]:
        return lambda: self.models[card.id]

    def is_local(self, card: ModelCard) -> bool:
        return True

    def folder(self, card: ModelCard, *, download: bool = False) -> Path | None:
        return self.folders[card.id]


def with_layers(folder: Path, into: Path, layers: list[int]) -> Path:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder)
    keep_layers(model, layers)
    model.save_pretrained(into)
    AutoTokenizer.from_pretrained(folder).save_pretrained(into)
    return into


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("tiny")
    big = build_tiny_model(base / "big")
    return {
        "teacher:big": big,
        "base:raw": with_layers(big, base / "raw", [2]),
        "student:small": with_layers(big, base / "small", [0, 1]),
    }


@pytest.fixture
def models(workspace, folders) -> dict[str, Counted]:
    workspace.evaluate.comparable = Local(workspace, folders)
    yield workspace.evaluate.comparable.models
    for model in workspace.evaluate.comparable.models.values():
        model.unload()


def add(workspace, owner, tmp_path, rows) -> None:
    made = upload(workspace, tmp_path, rows, "near.jsonl")
    workspace.suites.add(owner, made, SuiteScorer.AGREEMENT)


def score(workspace, owner, names, **settings):
    job = workspace.suites.run(owner, "near", names, max_tokens=6, **settings)
    return finish(workspace, owner, job)


def answers(workspace, owner, trial: str) -> dict[tuple[str, int], object]:
    found = workspace.suites.answers(owner, trial, limit=100)
    return {(answer.model, answer.number): answer for answer in found}


def slow(teacher: Counted, student: Counted, prompt: str, text: str) -> tuple[float, float, float]:
    """(KL, agreement, loss) from the dense logits of both in float64."""
    chat = teacher.load().chat
    before, ids = chat.prompt_ids([Message(role="user", content=prompt)]), chat.answer_ids(text)
    logits = []
    for model in (teacher, student):
        exact = copy.deepcopy(model.load().engine.model).double().eval()
        with torch.no_grad():
            logits.append(exact(torch.tensor([before + ids])).logits[0, len(before) - 1 : -1])
    log_p, log_q = (one.log_softmax(-1) for one in logits)
    kl = (log_p.exp() * (log_p - log_q)).sum(-1).mean()
    same = (log_p.argmax(-1) == log_q.argmax(-1)).double().mean()
    loss = -log_q[torch.arange(len(ids)), torch.tensor(ids)].mean()
    return kl.item(), same.item(), loss.item()


def test_the_teacher_writes_and_all_read_what_it_wrote(workspace, owner, tmp_path, models):
    add(workspace, owner, tmp_path, ASKED)
    done = score(workspace, owner, list(reversed(NAMES)))
    assert done.state is JobState.DONE, done
    assert {name: model.asked for name, model in models.items()} == {
        "teacher:big": 4, "base:raw": 0, "student:small": 0,
    }  # fmt: skip
    trial = done.params["trial_id"]
    found = answers(workspace, owner, trial)
    for number, row in enumerate(ASKED):
        text = found["teacher:big", number].answer
        assert text
        for name in NAMES:
            kl, same, _ = slow(models["teacher:big"], models[name], row["prompt"], text)
            mine = found[name, number]
            assert mine.kl == pytest.approx(kl, rel=1e-4, abs=1e-9)
            assert mine.score == pytest.approx(same)
            assert mine.loss is None
            assert f"KL {kl:.4f} nats" in mine.reason
    rows = {row.card.id: row for row in workspace.suites.standings(owner, trial).rows}
    assert (rows["teacher:big"].score.value, rows["teacher:big"].kl.value) == (1.0, 0.0)
    small, raw = (np.array([found[name, n].kl for n in range(4)]) for name in NAMES[:0:-1])
    assert rows["student:small"].kl.value == pytest.approx(small.mean())
    gap = rows["student:small"].kl_against_base.mean
    assert gap.value == pytest.approx((small - raw).mean())
    interval = stats.ttest_rel(small, raw).confidence_interval()
    assert (gap.low, gap.high) == pytest.approx((interval.low, interval.high))
    assert rows["student:small"].retained is None
    assert rows["student:small"].recovered is not None
    assert rows["student:small"].loss is None
    topics = workspace.suites.standings(owner, trial).topics
    colour = next(row for row in topics["colour"] if row.card.id == "student:small")
    assert colour.kl.value == pytest.approx(small[:2].mean())


def test_a_reference_is_read_in_place_of_an_answer_and_gives_a_loss(
    workspace, owner, tmp_path, models
):
    add(workspace, owner, tmp_path, [*KNOWN[:3], ASKED[3]])
    done = score(workspace, owner, NAMES)
    assert models["teacher:big"].asked == 1
    found = answers(workspace, owner, done.params["trial_id"])
    for number, row in enumerate(KNOWN[:3]):
        for name in NAMES:
            mine = found[name, number]
            expected = slow(models["teacher:big"], models[name], row["prompt"], row["reference"])
            assert (mine.kl, mine.score, mine.loss) == pytest.approx(expected, rel=1e-4, abs=1e-9)
            assert mine.answer == ""
    assert found["student:small", 3].loss is None
    standings = workspace.suites.standings(owner, done.params["trial_id"])
    small = next(row for row in standings.rows if row.card.id == "student:small")
    assert (small.loss.n, small.kl.n) == (3, 4)
    assert small.loss.value == pytest.approx(
        np.mean([found["student:small", n].loss for n in range(3)])
    )


def test_what_the_teacher_failed_on_nobody_can_read_until_it_is_asked_again(
    workspace, owner, tmp_path, models
):
    models["teacher:big"].fails = ("say blue",)
    add(workspace, owner, tmp_path, ASKED)
    done = score(workspace, owner, NAMES)
    trial = done.params["trial_id"]
    assert done.result["failed"] == 3
    found = answers(workspace, owner, trial)
    assert found["teacher:big", 1].error == "Busy."
    assert "The teacher wrote no answer" in found["student:small", 1].error
    assert workspace.suites.standings(owner, trial).left_out == 1
    again = finish(workspace, owner, workspace.suites.again(owner, trial))
    assert again.result["failed"] == 0
    assert models["teacher:big"].asked == 5
    assert workspace.suites.standings(owner, trial).items == 4


def test_a_job_that_stopped_before_the_reading_does_not_write_anew(
    workspace, owner, tmp_path, models, monkeypatch
):
    add(workspace, owner, tmp_path, ASKED)
    with monkeypatch.context() as patch:
        patch.setattr(FidelityReader, "read", lambda *_: (_ for _ in ()).throw(Unavailable("Off.")))
        done = score(workspace, owner, NAMES)
    assert done.state is JobState.FAILED
    trial = done.params["trial_id"]
    standings = workspace.suites.standings(owner, trial)
    assert (standings.items, standings.left_out, standings.missing) == (0, 0, 12)
    again = finish(workspace, owner, workspace.suites.again(owner, trial))
    assert (again.state, again.done, again.total) == (JobState.DONE, 24, 24)
    assert models["teacher:big"].asked == 4
    assert workspace.suites.standings(owner, trial).items == 4


def test_unlike_models_are_refused_before_anything_is_loaded(
    workspace, owner, tmp_path, models, folders
):
    add(workspace, owner, tmp_path, ASKED)
    with pytest.raises(InvalidInput, match="Choose the teacher"):
        workspace.suites.run(owner, "near", ["base:raw"])
    with pytest.raises(InvalidInput, match="same"):
        workspace.suites.run(owner, "near", NAMES, samples=2, temperature=1.0)
    other = shutil.copytree(folders["student:small"], tmp_path / "template")
    template = (other / "chat_template.jinja").read_text(encoding="utf-8")
    (other / "chat_template.jinja").write_text(template.replace("Be brief", "Be long"))
    workspace.evaluate.comparable = Local(workspace, {**folders, "student:long": other})
    with pytest.raises(InvalidInput, match=r"long and big .* chat templates write prompt 1"):
        workspace.suites.run(owner, "near", ["teacher:big", "student:long"])
    odd = shutil.copytree(folders["student:small"], tmp_path / "odd")
    tokens = (odd / "tokenizer.json").read_text(encoding="utf-8")
    (odd / "tokenizer.json").write_text(tokens.replace("<|im_start|>", "<|im_begin|>"))
    workspace.evaluate.comparable = Local(workspace, {**folders, "student:odd": odd})
    with pytest.raises(InvalidInput, match=r"odd cannot be compared.*different tokenizers"):
        workspace.suites.run(owner, "near", ["teacher:big", "student:odd"])
    assert workspace.suites.trials(owner, "near") == []


def test_a_teacher_behind_an_address_has_no_probabilities_to_read(workspace, owner, tmp_path):
    config = TeacherConfig(
        name="far", kind=TeacherKind.OPENAI, model="m", base_url="http://[::1]:1"
    )
    workspace.teachers.save(owner, config)
    add(workspace, owner, tmp_path, ASKED)
    with pytest.raises(InvalidInput, match="far does not run in this process"):
        workspace.suites.run(owner, "near", ["teacher:far", "base:smollm2-135m-instruct"])


def test_agreement_is_no_verdict(workspace, owner, tmp_path, models):
    add(workspace, owner, tmp_path, KNOWN)
    trial = score(workspace, owner, NAMES).params["trial_id"]
    assert not workspace.feedback.view(owner, trial, "small").is_verdict
    with pytest.raises(InvalidInput, match="agreement"):
        workspace.feedback.prefer(owner, trial, "small")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_pruned_starter_model_is_farther_from_the_whole_one(workspace, owner, tmp_path):
    """The starter teacher agrees with itself; a copy with 26 of 30 layers does so less."""
    whole = workspace.studio.models.resolve("smollm2-135m-instruct")
    student = with_layers(whole, tmp_path / "small", [*range(13), *range(17, 30)])
    comparable = Local(
        workspace, {"teacher:big": whole, "base:same": whole, "student:small": student}
    )
    workspace.evaluate.comparable = comparable
    rows = [
        {"prompt": "Name the capital of France."},
        {"prompt": "What is 2 + 3?", "reference": "2 + 3 is 5."},
        {"prompt": "Name a fruit.", "reference": "An apple."},
    ]
    add(workspace, owner, tmp_path, rows)
    job = workspace.suites.run(
        owner, "near", ["teacher:big", "base:same", "student:small"], max_tokens=24
    )
    done = finish(workspace, owner, job)
    assert done.state is JobState.DONE, done
    trial = done.params["trial_id"]
    found = {row.card.id: row for row in workspace.suites.standings(owner, trial).rows}
    for name in ("teacher:big", "base:same"):
        assert found[name].kl.value == pytest.approx(0.0, abs=1e-6)
        assert found[name].score.value == 1.0
    small = found["student:small"]
    assert 0.05 < small.score.value < 1.0
    assert small.kl.value > 0.1
    assert small.loss.n == 2
    read = answers(workspace, owner, trial)
    both = [comparable.models[name] for name in ("teacher:big", "student:small")]
    for number, row in enumerate(rows):
        text = row.get("reference") or read["teacher:big", number].answer
        kl, same, loss = slow(*both, row["prompt"], text)
        mine = read["student:small", number]
        assert mine.kl == pytest.approx(kl, rel=1e-3)
        assert mine.score == pytest.approx(same)
        assert mine.loss == (pytest.approx(loss, rel=1e-3) if number else None)
    for model in comparable.models.values():
        model.unload()
