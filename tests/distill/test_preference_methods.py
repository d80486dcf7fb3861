"""DPO's variants and KTO through the worker, on a tiny model; and their pre-flight."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import DpoRun, KtoRun, RunConfig, parse_config
from distill_studio.distill.data import encode_preference, encode_sft, iter_rows
from distill_studio.distill.labels import balance
from distill_studio.distill.preflight import check
from distill_studio.distill.presets import build_config
from distill_studio.distill.spec import TrainSpec
from tests.distill.run_worker import kinds, run_well
from tests.tiny_model import assistant, completions, user, write_snapshot

MakeRun = Callable[..., Path]
MakeConfig = Callable[..., RunConfig]
pytestmark = pytest.mark.usefixtures("keep_signals")


def answer_logps(model: Path, prompt_ids: list[int], answer_ids: list[int]) -> list[float]:
    """Log-probability of each token of an answer, from whole logits."""
    import torch
    from transformers import AutoModelForCausalLM

    lm = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    ids = torch.tensor([prompt_ids + answer_ids])
    with torch.no_grad():
        log_p = lm(input_ids=ids).logits[0].log_softmax(-1)
    start = len(prompt_ids) - 1
    return [float(log_p[start + i, token]) for i, token in enumerate(answer_ids)]


# -- DPO ----------------------------------------------------------------------------------


def dpo_reference(config: DpoRun, student: Path, base: Path) -> float:
    """Held-out loss, pair by pair, from the papers' formulas (batches of one size)."""
    chat = ChatTokenizer.load(base)
    losses, nll, tokens = [], 0.0, 0
    for row in iter_rows(Path(config.data.folder), "validation"):
        pair = encode_preference(chat, row)
        ours, theirs = (
            [answer_logps(m, pair.prompt_ids, a) for a in (pair.chosen_ids, pair.rejected_ids)]
            for m in (student, base)
        )
        won, lost = (sum(a) - sum(b) for a, b in zip(ours, theirs, strict=True))
        z, eps = config.beta * (won - lost), config.label_smoothing
        if config.loss == "ipo":  # TRL's: means per token (Azar et al. 2023, eq. 17)
            mean = won / len(pair.chosen_ids) - lost / len(pair.rejected_ids)
            losses.append((mean - 1 / (2 * config.beta)) ** 2)
        else:  # Chowdhury et al. 2024 (arXiv:2403.00409, eq. 11); eps = 0 is plain DPO
            losses.append(((1 - eps) * -log_sigmoid(z) + eps * log_sigmoid(-z)) / (1 - 2 * eps))
        nll -= sum(ours[0])
        tokens += len(ours[0])
    return sum(losses) / len(losses) + config.sft_weight * nll / tokens


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


@pytest.mark.parametrize(
    "choice",
    [
        {"loss": "ipo", "beta": 0.5},
        {"loss": "robust", "label_smoothing": 0.2},
        {"sft_weight": 0.5},
        {"loss": "ipo", "beta": 0.5, "sft_weight": 1.0, "reference": "stored"},
    ],
    ids=["ipo", "robust", "sft-mixed", "ipo-sft-mixed-stored"],
)
def test_a_variant_trains_towards_its_formula(
    make_run: MakeRun, tiny_model: Path, choice: dict[str, Any]
) -> None:
    folder = make_run("dpo", max_steps=6, eval_every=6, samples=0, **choice)
    events = run_well(folder)
    evals = kinds(events, "eval")
    config = parse_config((folder / "run.json").read_bytes())
    assert isinstance(config, DpoRun)
    assert evals[0].loss == pytest.approx(dpo_reference(config, tiny_model, tiny_model), rel=1e-3)
    trained = dpo_reference(config, folder / "model", tiny_model)
    assert evals[-1].loss == pytest.approx(trained, rel=2e-2)
    assert evals[-1].loss < evals[0].loss
    assert evals[-1].margin > 0.0


def test_a_stored_reference_is_that_of_the_adapter_switched_off(make_run: MakeRun) -> None:
    losses = []
    for reference in ("adapter_off", "stored"):
        folder = make_run("dpo", reference, reference=reference, max_steps=4, samples=0)
        losses.append([e.loss for e in kinds(run_well(folder), "step")])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


# -- KTO ----------------------------------------------------------------------------------


@pytest.fixture
def labelled(tmp_path: Path) -> dict[str, str]:
    """18 accepted answers, 6 rejected ones; 4 of each held out."""
    rows: list[dict[str, Any]] = []
    for number, row in enumerate(completions(32)):
        is_accepted = number % 4 != 3 if number >= 8 else number % 2 == 0
        answer = "sun sun sun" if is_accepted else "moon dog moon"
        rows.append(row | {"completion": [assistant(answer)], "label": is_accepted})
    folder = write_snapshot(tmp_path / "labelled", rows[8:], rows[:8])
    return {"folder": str(folder), "name": "labelled", "format": "unpaired"}


@pytest.mark.parametrize("lora", [True, False])
def test_kto_parts_accepted_from_rejected_answers(
    make_run: MakeRun, tiny_model: Path, labelled: dict[str, str], lora: bool
) -> None:
    options: dict[str, Any] = {} if lora else {"lora": None, "learning_rate": 3e-3}
    folder = make_run("kto", data=labelled, max_steps=10, eval_every=10, samples=0, **options)
    events = run_well(folder)
    evals = kinds(events, "eval")
    assert evals[0].margin == pytest.approx(0.0, abs=1e-4)
    assert evals[0].loss == pytest.approx((0.5 * 1 + 0.5 * 3) / 2, rel=1e-3)  # sigmoid(0), weighed
    assert evals[-1].margin > 0.05
    assert evals[-1].logp_margin > evals[0].logp_margin
    assert all(e.kl is None for e in [*evals, *kinds(events, "step")])
    said = " ".join(n.message for n in kinds(events, "note"))
    assert "18 accepted and 6 rejected answers: an accepted one weighs 1, a rejected one 3" in said
    margin = held_out_margin(folder, folder / "model", tiny_model)
    assert evals[-1].margin == pytest.approx(margin, rel=2e-2)


def held_out_margin(folder: Path, student: Path, base: Path) -> float:
    """beta * (mean log-ratio of accepted answers - that of rejected ones)."""
    config = parse_config((folder / "run.json").read_bytes())
    assert isinstance(config, KtoRun)
    chat = ChatTokenizer.load(base)
    ratios: dict[bool, list[float]] = {True: [], False: []}
    for row in iter_rows(Path(config.data.folder), "validation"):
        encoded = encode_sft(chat, row)
        start = sum(label < 0 for label in encoded.labels)
        parts = encoded.input_ids[:start], encoded.input_ids[start:]
        ours, theirs = (sum(answer_logps(m, *parts)) for m in (student, base))
        ratios[row["label"]].append(ours - theirs)
    means = {label: sum(found) / len(found) for label, found in ratios.items()}
    return config.beta * (means[True] - means[False])


def test_each_row_meets_another_rows_answer_of_its_batch() -> None:
    import datasets

    from distill_studio.distill.trainers.kto import _with_mismatched

    rows = datasets.Dataset.from_dict({"completion_ids": [[n] for n in range(7)]})
    paired = _with_mismatched(rows, 3)["KL_completion_ids"]
    assert list(paired) == [[2], [0], [1], [5], [3], [4], [5]]


def test_the_rarer_class_weighs_more_unless_a_person_says_otherwise() -> None:
    spec = TrainSpec(snapshot="s", method="kto", undesirable_weight=2.0)
    assert spec.desirable_weight is None

    def weights(accepted: int, rejected: int, **chosen: float) -> tuple[float, float]:
        config = KtoRun.model_construct(
            desirable_weight=chosen.get("desirable"), undesirable_weight=chosen.get("undesirable")
        )
        found = balance(config, accepted, rejected)
        return found.desirable, found.undesirable

    assert weights(10, 10) == (1.0, 1.0)
    assert weights(30, 10) == (1.0, 3.0)
    assert weights(10, 25) == (2.5, 1.0)
    assert weights(30, 10, undesirable=2.0) == (1.0, 2.0)
    assert weights(0, 4) == (1.0, 1.0)


# -- choosing -----------------------------------------------------------------------------


def found(config: RunConfig, code: str) -> Any:
    return next(f for f in check(config).findings if f.code == code)


def test_preflight_shows_the_balance_and_refuses_one_class(
    make_config: MakeConfig, labelled: dict[str, str], tmp_path: Path
) -> None:
    assert (
        "18 accepted and 6 rejected" in found(make_config("kto", data=labelled), "balance").message
    )
    assert found(make_config("kto", data=labelled, batch_size=1), "batch").level == "error"
    rows = [{"prompt": [user("a")], "completion": [assistant("b")], "label": True}] * 4
    folder = write_snapshot(tmp_path / "one", rows, [])
    one = make_config("kto", data={"folder": str(folder), "name": "one", "format": "unpaired"})
    error = found(one, "one_class")
    assert error.level == "error"
    assert "none is rejected" in error.message
    wrong = found(make_config("kto"), "wrong_format")
    assert "KTO learns from unpaired rows" in wrong.message


def test_preflight_of_what_does_not_go_together(make_config: MakeConfig) -> None:
    assert found(make_config("dpo", lora=None, reference="adapter_off"), "reference").level == (
        "error"
    )
    assert found(make_config("dpo", loss="robust"), "smoothing").level == "warning"
    assert found(make_config("dpo", label_smoothing=0.1), "smoothing").level == "error"


def test_a_spec_chooses_a_variant(make_config: MakeConfig) -> None:
    made = make_config("dpo")

    def build(**fields: Any) -> Any:
        spec = TrainSpec(snapshot="s", method="dpo", **fields)
        return build_config(spec, "r", made.student, made.data)

    assert (build().loss, build().sft_weight, build().reference) == ("sigmoid", 0.0, None)
    robust = build(dpo_loss="robust")
    assert (robust.loss, robust.label_smoothing) == ("robust", 0.1)
    assert build(dpo_loss="robust", label_smoothing=0.3).label_smoothing == 0.3
    assert build(sft_weight=0.2, reference="stored").sft_weight == 0.2
