"""Does a second round on what was lost help? Two rounds by the studio's own services, unattended.

`python -m tests.benchmarks.rounds_study --rows answers.json problems.jsonl --into rounds.jsonl`

The teacher (SmolLM2-135M) answers prompts; a student of 24 of its 30 layers learns from those of
the first file (logit distillation). A suite asks prompts of *all* files for the teacher's answers
(likelihood); its prompts are for practice or an exam, as the studio divides them. From the practice
prompts that the student lost by most, the way back makes round 2: they are answered by the teacher,
it writes new ones near the worst, and fresh rows of the first file fill up the number. Controls
start from the same student and make the same updates on as many rows:

- `more`: fresh rows of the first file only. It is what one would do without the evaluation, and
  stronger than the same rows once more, because none is read twice.
- `blind`: as many practice prompts as round 2 has, chosen without a look at the losses. It tells
  apart what choosing by loss brings from what other kinds of prompts bring.

A seed decides which rows round 1 has, their order, and all that follows. Students are measured on
the exam alone, over all tokens of the teacher's answer to each prompt: KL(teacher || student) in
nats, top-1 agreement, cross-entropy. A measured student is a line of `--into`; a study that was
killed goes on where it was: the studio resumes its jobs, and what is there is not made again.
`--table` prints what is there. `--tiny` shows that it all works, and tells nothing.
"""

import argparse
import json
import os
import random
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor, Role
from distill_studio.core.protocols import SamplingParams
from distill_studio.core.records import (
    Decision,
    DecisionKind,
    Job,
    JobState,
    Message,
    Pair,
    RunState,
)
from distill_studio.core.records.suite import SuiteItem, SuiteScorer, Trial
from distill_studio.core.settings import Settings
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.data import Encoded, cut, encode_sft
from distill_studio.distill.losses.mask import learned_targets
from distill_studio.distill.signals.capture import score
from distill_studio.distill.signals.online import DenseTeacher, OnlineTeacher
from distill_studio.distill.spec import TrainSpec
from distill_studio.seeds.drafts import open_file
from distill_studio.services.generation_planning import GenerationWish
from distill_studio.services.teachers import STARTER
from distill_studio.services.workspace import Workspace
from distill_studio.store.generation import SeedFilter
from distill_studio.store.pairs import PairQuery
from tests.benchmarks.rounds_table import Cell, done_cells, table
from tests.tiny_model import assistant, user

TEACHER = STARTER.model
TEACHER_CARD = f"teacher:{STARTER.name}"
LAYERS, RATE = 24, 1e-4
SUITE, POOL = "rounds", "pool"
ARMS = ("feedback", "more", "blind")
OWNER = Actor(user="study", role=Role.OWNER)
_NAMESPACE = uuid.UUID("0b7a1c5e-57e6-4a0f-9d6a-2f1f6f0f7d11")
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Size:
    """How much of everything; prompts of the suite are counted per file."""

    updates: tuple[int, int] = (80, 40)  # of round 1 and 2
    batch: int = 4
    tokens: int = 160
    prompt_tokens: int = 96  # longest, of these, so that every row has an answer to learn
    answer: int = 64  # tokens
    exam: int = 104
    practice: int = 90
    lost: int = 120  # practice prompts that go into round 2
    near: int = 16  # of those, the worst, near which the teacher writes new ones


TINY = Size((2, 2), 2, 96, 80, 8, 2, 4, 2, 1)


@dataclass
class Study:
    """The workspace with the teacher's answers, and the exam."""

    workspace: Workspace
    size: Size
    base: Path
    seconds: dict[str, float] = field(default_factory=dict)  # of the cell at work

    def __post_init__(self) -> None:
        self.chat = ChatTokenizer.load(self.base)
        self._teacher: list[list[DenseTeacher]] = []  # hidden states of the exam's answers

    # -- once -----------------------------------------------------------------------------

    def prepare(self, files: Sequence[Path]) -> None:
        """Prompts in, answered, accepted; the suite of the teacher's answers."""
        at = self.workspace
        self.settle()
        if not at.seeds.count(OWNER, source=SUITE):
            pool, asked = self._split(files)
            for source, rows in ((POOL, pool), (SUITE, asked)):
                at.seeds.import_file(OWNER, self._upload(source, rows), source=source)
        self.step("the teacher answers", self._answer)
        if not any(one.name == SUITE for one in at.suites.page(OWNER)):
            rows = [
                {"prompt": pair.messages[-1].content, "topic": pair.topic, "reference": pair.answer}
                for pair in self._pairs(SUITE)
            ]
            at.suites.add(OWNER, self._upload(SUITE, rows), SuiteScorer.LIKELIHOOD)

    def _split(self, files: Sequence[Path]) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        """Rows for training (of the first file), and those of the suite (of all)."""
        pool: list[dict[str, str]] = []
        asked: list[dict[str, str]] = []
        for number, path in enumerate(files):
            rows = [{"prompt": text, "topic": path.stem} for text in self._short(path)]
            random.Random(number).shuffle(rows)
            exam = [row for row in rows if not _is_practice(row)][: self.size.exam]
            practice = [row for row in rows if _is_practice(row)][: self.size.practice]
            if len(exam) < self.size.exam or len(practice) < self.size.practice:
                raise SystemExit(f"{path.name} has too few short prompts.")
            asked += exam + practice
            taken = {row["prompt"] for row in exam + practice}
            pool = pool or [row for row in rows if row["prompt"] not in taken]
        if len(pool) < (needed := sum(self.size.updates) * self.size.batch):
            raise SystemExit(
                f"{files[0].name} leaves {len(pool)} rows to learn; {needed} are needed."
            )
        return pool[: needed + needed // 10], asked  # seeds draw different ones

    def _short(self, path: Path) -> list[str]:
        """Different single prompts that leave room for an answer."""
        drafts = (draft for row in open_file(path, None).rows() for draft in row.drafts)
        texts = dict.fromkeys(d.messages[-1].content for d in drafts if len(d.messages) == 1)
        return [text for text in texts if self._prompt_tokens(text) <= self.size.prompt_tokens]

    def _prompt_tokens(self, text: str) -> int:
        return len(self.chat.encode(self.chat.render([user(text)], answer_next=True)))

    # -- a round --------------------------------------------------------------------------

    def round_1(self, seed: int) -> str:
        """Train the first student; its run's name."""
        rows = self._pool(seed)[: self.size.updates[0] * self.size.batch]
        return self._train("round-1", seed, rows, self.size.updates[0], TEACHER)

    def round_2(self, seed: int, arm: str) -> str:
        """Train on from the first student."""
        start = self.round_1(seed)  # made again where its files were given back
        first, second = (updates * self.size.batch for updates in self.size.updates)
        fresh = self._pool(seed)[first:]
        rows = (self._chosen(seed, arm, start) + fresh)[:second]
        return self._train(arm, seed, rows, self.size.updates[1], f"run:{start}")

    def _chosen(self, seed: int, arm: str, student: str) -> list[str]:
        """Ids of the rows that an arm has before others fill up their number."""
        if arm == "more":
            return []
        practice = [i for i in self._items() if i.is_practice]
        by_prompt = {pair.messages[-1].content: pair.id for pair in self._pairs(SUITE)}
        if arm == "blind":
            some = random.Random(seed).sample(practice, self.size.lost)
            return [by_prompt[item.messages[-1].content] for item in some]
        items = {item.number: item for item in practice}
        trial = self.step("the suite", lambda: self._trial(student))
        view = self.workspace.feedback.view(OWNER, trial.id, f"student:{student}")
        worst = [one.number for one in view.tally.losses][: self.size.lost]
        new = self.step("new prompts", lambda: self._near(trial, student, worst[: self.size.near]))
        self.seconds |= {"n_lost": len(worst), "n_new": len(new)}
        return [by_prompt[items[n].messages[-1].content] for n in worst] + new

    def _trial(self, student: str) -> Trial:
        """Teacher and student on the suite, asked once."""
        card = f"student:{student}"
        for trial in self.workspace.suites.trials(OWNER, SUITE):
            if card in {model.id for model in trial.models}:
                if self.workspace.suites.standings(OWNER, trial.id).missing:
                    self.finish(self.workspace.suites.again(OWNER, trial.id))
                return trial
        job = self.workspace.suites.run(OWNER, SUITE, [TEACHER_CARD, card])
        return self.workspace.suites.trial(OWNER, self.finish(job).params["trial_id"])

    def _near(self, trial: Trial, student: str, numbers: list[int]) -> list[str]:
        """Ids of the teacher's answers to new prompts that it writes near these."""
        at = self.workspace
        steps = [s for s in at.feedback.steps(OWNER, SUITE) if s.student == f"student:{student}"]
        if not steps:
            self.finish(at.feedback.seeds(OWNER, trial.id, f"student:{student}", numbers=numbers))
            steps = at.feedback.steps(OWNER, SUITE)[-1:]
        source = f"way back: {SUITE}"
        made = at.seeds.page(OWNER, limit=10_000, source=source)
        ids = {seed.id for seed in made if seed.extra["feedback"] == steps[0].id}
        self._answer()
        return [pair.id for pair in self._pairs(source) if pair.seed_id in ids]

    def _train(self, arm: str, seed: int, rows: list[str], updates: int, start: str) -> str:
        """Tag the rows, freeze them, train; what is there is not made again."""
        at, name = self.workspace, _run_name(arm, seed)
        if name not in {one.name for one in at.freeze.page(OWNER, limit=1000)}:
            self._tag(name, rows)
            query = PairQuery(tag=name)
            at.freeze.create(OWNER, name, "prompt_completion", query, validation_share=0.0)
        runs = {run.name: run for run in at.distill.page(OWNER)}
        spec = TrainSpec(
            snapshot=name,
            name=name,
            method="logit",
            student=start,
            keep_layers=LAYERS if start == TEACHER else None,
            teacher=TEACHER,
            weights="full",
            learning_rate=RATE,
            warmup_ratio=0.05,
            max_steps=updates,
            batch_size=self.size.batch,
            max_length=self.size.tokens,
            eval_every=10 * updates,
            save_every=10 * updates,
            seed=seed,
        )
        run = runs.get(name) or at.distill.start(OWNER, spec)
        if run.state not in (RunState.QUEUED, RunState.RUNNING, RunState.DONE):
            run = at.distill.resume(OWNER, name)
        self.step("training", lambda: self.finish(at.jobs.get(OWNER, run.job_id)))
        if (ended := at.distill.get(OWNER, name)).state is not RunState.DONE:
            raise SystemExit(f"{name}: {ended.state.value}. {ended.error}")
        return name

    # -- measuring ------------------------------------------------------------------------

    def measure(self, run: str) -> Cell:
        """A student beside the teacher on the exam, both in fp32, prompt by prompt."""
        exam = [item for item in self._items() if not item.is_practice]
        rows = [self._encoded(item) for item in exam]
        if not self._teacher:
            teacher = _loaded(self.base)
            self._teacher = [score(teacher, [row]) for row in rows]
        student = _loaded(self.workspace.distill.student_folder(run))
        kl, same, ce = [], [], []
        for row, said in zip(rows, self._teacher, strict=True):
            log_p_NV, log_q_NV = said[0](slice(None)), score(student, [row])[0](slice(None))
            targets_N: Tensor = learned_targets(torch.tensor([row.labels]))
            kl.append(float((log_p_NV.exp() * (log_p_NV - log_q_NV)).sum(1).mean()))
            same.append(float((log_p_NV.argmax(1) == log_q_NV.argmax(1)).float().mean()))
            ce.append(-float(log_q_NV.gather(1, targets_N.unsqueeze(1)).mean()))
        return {
            "items": [item.number for item in exam],
            "topics": [item.topic for item in exam],
            "kl": [round(value, 6) for value in kl],
            "agreement": [round(value, 6) for value in same],
            "ce": [round(value, 6) for value in ce],
        }

    def _encoded(self, item: SuiteItem) -> Encoded:
        row = {
            "prompt": [user(item.messages[-1].content)],
            "completion": [assistant(item.reference)],
        }
        return cut(encode_sft(self.chat, row), self.size.tokens)

    # -- shared ---------------------------------------------------------------------------

    def step(self, name: str, work: Callable[[], _Made]) -> _Made:
        """Do it, and say how many seconds it took."""
        began = time.perf_counter()
        made = work()
        took = time.perf_counter() - began
        self.seconds[name] = round(self.seconds.get(name, 0.0) + took, 1)
        print(f"  {name}: {took:.0f} s", file=sys.stderr, flush=True)
        return made

    def settle(self) -> None:
        """Wait for what a former process had begun: the studio goes on with it by itself."""
        for job in self.workspace.jobs.page(OWNER, active=True):
            self.workspace.jobs.wait(OWNER, job.id, timeout_s=24 * 3600)

    def finish(self, job: Job) -> Job:
        """Wait for a job; SystemExit where it fails."""
        ended = self.workspace.jobs.wait(OWNER, job.id, timeout_s=24 * 3600)
        if ended.state is not JobState.DONE:
            raise SystemExit(f"{ended.title}: {ended.state.value}. {ended.error}")
        return ended

    def forget(self, seed: int) -> None:
        """Free the disk of a seed's students, all of which are measured."""
        for run in self.workspace.distill.page(OWNER):
            if run.name.startswith(f"seed-{seed}-"):
                self.workspace.distill.delete(OWNER, run.name)
        shutil.rmtree(self.workspace.studio.home / "trash", ignore_errors=True)

    def _answer(self) -> None:
        """The teacher answers every prompt that has no answer; all answers are accepted."""
        wish = GenerationWish(
            teachers=[STARTER.name],
            sampling=SamplingParams(temperature=0.0, max_tokens=self.size.answer),
        )
        if self.workspace.generate.count(OWNER, SeedFilter())["chosen"]:
            self.finish(self.workspace.generate.start(OWNER, wish))
        pending = PairQuery(status="pending")
        if self.workspace.review.count(OWNER, pending):
            self.workspace.review.bulk(OWNER, pending, DecisionKind.ACCEPT, str(uuid.uuid4()))

    def _tag(self, tag: str, rows: Iterable[str]) -> None:
        """Tags of one person are one list per row: each arm has a tagger of its own."""
        decisions = [
            Decision(
                id=str(uuid.uuid5(_NAMESPACE, f"{tag} {row}")),
                pair_id=row,
                kind=DecisionKind.NOTE,
                tags=(tag,),
            )
            for row in rows
        ]
        found = self.workspace.review.decide(Actor(user=tag, role=Role.OWNER), decisions)
        if found.refused:
            raise SystemExit(f"{tag}: {found.refused[0].reason}")

    def _pool(self, seed: int) -> list[str]:
        """Rows of the first file in the order of a seed."""
        ids = [pair.id for pair in self._pairs(POOL)]
        random.Random(1000 + seed).shuffle(ids)
        return ids

    def _pairs(self, source: str) -> list[Pair]:
        """Accepted answers to a source's prompts, those that say something."""
        asked = {seed.id for seed in self.workspace.seeds.page(OWNER, limit=10_000, source=source)}
        found = self.workspace.review.page(OWNER, PairQuery(status="accepted", limit=10_000))
        return [one for one in found if one.seed_id in asked and one.answer.strip()]

    def _items(self) -> list[SuiteItem]:
        found: list[SuiteItem] = []
        while page := self.workspace.suites.items(
            OWNER, SUITE, after=found[-1].number if found else -1, limit=500
        ):
            found += page
        return found

    def _upload(self, name: str, rows: Sequence[dict[str, str]]) -> str:
        upload_id, path = self.workspace.studio.uploads.new_path(f"{name}.jsonl")
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return upload_id


def _is_practice(row: dict[str, str]) -> bool:
    """As the suite will say."""
    asked = (Message(role="user", content=row["prompt"]),)
    return SuiteItem(number=0, messages=asked, reference="-").is_practice


def _run_name(arm: str, seed: int) -> str:
    return f"seed-{seed}-{arm}"


def _loaded(folder: Path) -> OnlineTeacher:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return OnlineTeacher(model, model.config.vocab_size)


def run_seed(study: Study, seed: int, arms: Sequence[str], into: Path) -> None:
    """Every student of a seed that is not measured yet."""
    missing = [arm for arm in ("round-1", *arms) if (seed, arm) not in done_cells(into)]
    for arm in missing:
        print(f"seed {seed}, {arm}", file=sys.stderr, flush=True)
        began, study.seconds = time.perf_counter(), {}
        run = study.round_1(seed) if arm == "round-1" else study.round_2(seed, arm)
        figures = study.step("measuring", lambda run=run: study.measure(run))
        cell = {
            "seed": seed,
            "arm": arm,
            "updates": study.size.updates[arm != "round-1"],
            "rows": study.workspace.freeze.get(OWNER, run).train_rows,
            "seconds": study.seconds,
            "whole_s": round(time.perf_counter() - began, 1),
            "load": os.getloadavg()[0],
            **figures,
        }
        with into.open("a", encoding="utf-8") as file:
            file.write(json.dumps(cell) + "\n")
    if missing:
        study.forget(seed)


def make(
    rows: Sequence[Path],
    into: Path,
    work: Path,
    *,
    size: Size,
    seeds: Sequence[int],
    arms: Sequence[str] = ARMS,
    cache: Path | None = None,
) -> None:
    """Make what is missing."""
    studio = build_studio(Settings(home=work, cache=cache, port=0))
    try:
        base = studio.models.resolve(TEACHER)
        study = Study(studio.workspace(studio.settings.workspace), size, base)
        study.prepare(rows)
        for seed in seeds:
            run_seed(study, seed, arms, into)
    finally:
        studio.close()


def main() -> int:
    """Parse the arguments, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument(
        "--rows", type=Path, nargs="+", help="files of prompts; round 1 learns from the first"
    )
    parser.add_argument("--into", type=Path, required=True, help="results, a line per student")
    parser.add_argument("--work", type=Path, help="the data folder; default: beside --into")
    parser.add_argument("--cache", type=Path, help="of the starter model; default: in --work")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--threads", type=int, default=0, help="of torch here; 0 = all")
    parser.add_argument("--tiny", action="store_true", help="some rows, two updates")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    args = parser.parse_args()
    disable_progress_bar()
    if not args.table:
        if not args.rows:
            parser.error("--rows is needed")
        if args.threads:
            torch.set_num_threads(args.threads)
        make(
            args.rows,
            args.into,
            args.work or args.into.with_suffix(".work"),
            size=TINY if args.tiny else Size(),
            seeds=args.seeds,
            arms=args.arms,
            cache=args.cache,
        )
    print(table(done_cells(args.into)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
