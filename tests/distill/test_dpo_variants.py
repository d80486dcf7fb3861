"""Each variant of DPO through our trainer: value and gradient against the papers' formulas.

The reference reads whole logits in float64, pair by pair. TRL's own log-probabilities are fp32
whatever the model is, hence the tolerances.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import DpoLoss, DpoRun, LoraConfig, RunConfig
from distill_studio.distill.data import encode_preference, iter_rows
from distill_studio.distill.presets import build_config
from distill_studio.distill.spec import TrainSpec
from distill_studio.distill.trainers.dpo import build
from distill_studio.distill.trainers.setup import Setup
from tests.tiny_model import WORDS, assistant, user, write_snapshot

MakeConfig = Callable[..., RunConfig]
Formula = Callable[[Tensor, Tensor, float, int, int], Tensor]
SMOOTHING = 0.2


def _log_sigmoid(x: Tensor) -> Tensor:
    return -torch.log1p(torch.exp(-x))


def _sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def _robust(won: Tensor, lost: Tensor, beta: float, *_: int) -> Tensor:
    right, wrong = _log_sigmoid(beta * (won - lost)), _log_sigmoid(beta * (lost - won))
    return -((1 - SMOOTHING) * right - SMOOTHING * wrong) / (1 - 2 * SMOOTHING)


def _nca(won: Tensor, lost: Tensor, beta: float, *_: int) -> Tensor:
    pushed_down = _log_sigmoid(-beta * won) + _log_sigmoid(-beta * lost)
    return -_log_sigmoid(beta * won) - pushed_down / 2


# Loss of a pair from: log-ratio to the reference of the chosen and of the rejected answer (sums
# over tokens), beta, tokens of both answers.
FORMULAS: dict[str, Formula] = {
    # Rafailov et al. 2023 (arXiv:2305.18290), eq. 7
    "sigmoid": lambda won, lost, beta, *_: -_log_sigmoid(beta * (won - lost)),
    # Azar et al. 2023 (arXiv:2310.12036), eq. 17, of means per token as its authors had them
    "ipo": lambda won, lost, beta, n, m: (won / n - lost / m - 1 / (2 * beta)) ** 2,
    # Zhao et al. 2023 (SLiC, arXiv:2305.10425) on log-ratios as in Liu et al. 2023 (2309.06657)
    "hinge": lambda won, lost, beta, *_: torch.clamp(1 - beta * (won - lost), min=0),
    # Chowdhury et al. 2024 (arXiv:2403.00409), eq. 11
    "robust": _robust,
    # Lambert et al. 2024 (Tulu 3, arXiv:2411.15124)
    "sigmoid_norm": lambda won, lost, beta, n, m: -_log_sigmoid(beta * (won / n - lost / m)),
    # D'Oosterlinck et al. 2024 (APO, arXiv:2408.06266), their losses plus 1
    "apo_zero": lambda won, lost, beta, *_: 1 - _sigmoid(beta * won) + _sigmoid(beta * lost),
    "apo_down": lambda won, lost, beta, *_: (
        _sigmoid(beta * won) + 1 - _sigmoid(beta * (won - lost))
    ),
    # Chen et al. 2024 (NCA, arXiv:2402.05369), for pairs
    "nca_pair": _nca,
}


@pytest.fixture
def pairs(tmp_path: Path) -> dict[str, str]:
    """Four pairs whose answers have one to four words against one to three."""
    rows = [
        {
            "id": f"p{i}",
            "prompt": [user(f"say {WORDS[i]}")],
            "chosen": [assistant(" ".join(WORDS[: 1 + i]))],
            "rejected": [assistant(" ".join(WORDS[i + 4 : i + 5 + i % 3]))],
        }
        for i in range(4)
    ]
    folder = write_snapshot(tmp_path / "pairs", rows, rows[:1])
    return {"folder": str(folder), "name": "pairs", "format": "preference"}


def dense_log_p(model: Any, prompt_ids: list[int], answer_ids: list[int]) -> Tensor:
    """Log-probability of an answer, from whole logits."""
    log_p_TV = model(input_ids=torch.tensor([prompt_ids + answer_ids])).logits[0].log_softmax(-1)
    places = torch.arange(len(answer_ids)) + len(prompt_ids) - 1
    return log_p_TV[places, torch.tensor(answer_ids)].sum()


def dense_loss(model: Any, config: DpoRun, chat: ChatTokenizer) -> Tensor:
    losses, nll, tokens = [], torch.tensor(0.0, dtype=torch.float64), 0
    for row in iter_rows(Path(config.data.folder), "train"):
        pair = encode_preference(chat, row)
        ratios = []
        for answer in (pair.chosen_ids, pair.rejected_ids):
            with torch.no_grad(), model.disable_adapter():
                before = dense_log_p(model, pair.prompt_ids, answer)
            ratios.append(dense_log_p(model, pair.prompt_ids, answer) - before)
        lengths = len(pair.chosen_ids), len(pair.rejected_ids)
        losses.append(FORMULAS[config.loss](ratios[0], ratios[1], config.beta, *lengths))
        nll = nll - dense_log_p(model, pair.prompt_ids, pair.chosen_ids)
        tokens += lengths[0]
    assert losses[0].dtype == torch.float64
    return torch.stack(losses).mean() + config.sft_weight * nll / tokens


@pytest.mark.parametrize(
    ("loss", "sft_weight"), [*((loss, 0.0) for loss in get_args(DpoLoss)), ("apo_zero", 0.5)]
)
def test_value_and_gradient_are_the_formulas(
    make_config: MakeConfig,
    tiny_model: Path,
    pairs: dict[str, str],
    tmp_path: Path,
    loss: str,
    sft_weight: float,
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    beta = {"ipo": 0.5, "sigmoid_norm": 5.0, "hinge": 1.0}.get(loss, 0.3)  # hinge: one is beyond
    smoothing = SMOOTHING if loss == "robust" else 0.0
    config = make_config(
        "dpo",
        data=pairs,
        loss=loss,
        beta=beta,
        label_smoothing=smoothing,
        sft_weight=sft_weight,
        batch_size=4,
        lora=LoraConfig(r=2, alpha=4),
    )
    assert isinstance(config, DpoRun)
    trainer = build(
        Setup(
            config=config,
            folder=tmp_path,
            model=AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float64),
            tokenizer=AutoTokenizer.from_pretrained(tiny_model),
            chat=ChatTokenizer.load(tiny_model),
            device="cpu",
            is_bf16=False,
        )
    )
    model: Any = trainer.model
    learned = [weights for weights in model.parameters() if weights.requires_grad]
    torch.manual_seed(1)
    for weights in learned:  # so that the student is no longer its reference
        weights.data.normal_(0, 0.2)
    model.train()
    value = trainer.compute_loss(model, next(iter(trainer.get_train_dataloader())))
    found = torch.autograd.grad(value, learned)
    wanted_value = dense_loss(model, config, ChatTokenizer.load(tiny_model))
    wanted = torch.autograd.grad(wanted_value, learned)
    assert float(value.detach()) == pytest.approx(float(wanted_value.detach()), rel=1e-4)
    longest = max(float(gradient.abs().max()) for gradient in wanted)
    assert longest > 1e-3, "there is nothing to compare"
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * longest)


def test_a_variant_has_its_own_defaults(make_config: MakeConfig) -> None:
    made = make_config("dpo")

    def chosen(**fields: Any) -> tuple[float, float]:
        spec = TrainSpec(snapshot="s", method="dpo", **fields)
        config = build_config(spec, "r", made.student, made.data)
        assert isinstance(config, DpoRun)
        return config.beta, config.label_smoothing

    assert chosen(dpo_loss="apo_zero") == (0.1, 0.0)
    assert chosen(dpo_loss="sigmoid_norm") == (5.0, 0.0)  # of means per token
    assert chosen(dpo_loss="sigmoid_norm", beta=2.0) == (2.0, 0.0)
    assert chosen(dpo_loss="robust") == (0.1, 0.1)
