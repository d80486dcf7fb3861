"""Breaks the distillation losses in known ways and shows that a test notices each.

`python -m tests.mutations` (a quarter of an hour; `--only JSD` for some). Each mutation is one
replaced line in a copy of the project in a temporary folder; the tests that are named with it run
there and some must fail. All losses of logits share one mask, one T^2 and one division by the
number of tokens, so those are broken once and the number of tests that fail tells how many notice.
Prints a Markdown table. Not part of the suite: it tests the tests.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOSSES = "distill_studio/distill/losses"
SIGNALS = "distill_studio/distill/signals"
TRAINERS = "distill_studio/distill/trainers"


@dataclass(frozen=True)
class Mutation:
    """A wrong line in place of a right one."""

    name: str
    file: str
    right: str
    wrong: str
    tests: str = "tests/distill/losses"


MUTATIONS = (
    Mutation(
        "mask not shifted",
        f"{LOSSES}/mask.py",
        "is_learned_BT[:, :-1] = labels_BT[:, 1:] != MASKED",
        "is_learned_BT[:, 1:] = labels_BT[:, 1:] != MASKED",
    ),
    Mutation(
        "targets not shifted",
        f"{LOSSES}/mask.py",
        "shifted_BT = labels_BT[:, 1:]",
        "shifted_BT = labels_BT[:, :-1]",
    ),
    Mutation(
        "num_items_in_batch ignored",
        f"{LOSSES}/mask.py",
        "if num_items_in_batch is None:",
        "if True:",
    ),
    Mutation(
        "T^2 dropped",
        f"{LOSSES}/distill_term.py",
        "return self.temperature**2 * loss_N.sum()",
        "return loss_N.sum()",
    ),
    Mutation(
        "T^2 dropped from the gradient",
        f"{LOSSES}/distill_term.py",
        "alpha=self.weight * self.temperature)",
        "alpha=self.weight / self.temperature)",
    ),
    Mutation(
        "alpha left out of the gradient",
        f"{LOSSES}/cross_entropy.py",
        "gradient_NV.add_(log_q_NV.exp(), alpha=self.weight)",
        "gradient_NV.add_(log_q_NV.exp())",
    ),
    Mutation(
        "top k: head renormalised, tail dropped",
        f"{LOSSES}/sparse_kl.py",
        "log_p_NK = teacher.log_probs_NK.to(log_q_NV.dtype).clamp(min=LOWEST)",
        "log_p_NK = teacher.log_probs_NK.to(log_q_NV.dtype).log_softmax(1)",
    ),
    Mutation(
        "top k: tail of the student as 1 - sum",
        f"{LOSSES}/sparse_kl.py",
        "log_s_N = tail_NV.logsumexp(1).clamp_(min=LOWEST)",
        "log_s_N = (1 - log_q_NV.gather(1, ids_NK).exp().sum(1)).clamp(min=1e-7).log()",
    ),
    Mutation(
        "draws: weighed by their probability once more",
        f"{LOSSES}/sampled_kl.py",
        "share_NK = teacher.shares_NK.to(log_q_NV.dtype)",
        "share_NK = teacher.shares_NK.to(log_q_NV.dtype) * teacher.log_probs_NK.exp()",
    ),
    Mutation(
        "draws: gradient without the tail",
        f"{LOSSES}/sampled_kl.py",
        "gradient_NV = log_q_NV.exp().mul_(share_NK.sum(1, keepdim=True))",
        "gradient_NV = log_q_NV.exp().mul_(0)",
    ),
    Mutation(
        "forward KL: gradient the other way round",
        f"{LOSSES}/forward_kl.py",
        "log_q_NV.exp().sub_(p_NV)",
        "p_NV - log_q_NV.exp()",
    ),
    Mutation(
        "reverse KL: gradient without its mean",
        f"{LOSSES}/reverse_kl.py",
        "gap_NV.sub_(loss_N.unsqueeze(1)).mul_(q_NV)",
        "gap_NV.mul_(q_NV)",
    ),
    Mutation(
        "JSD: shares of the mixture exchanged",
        f"{LOSSES}/jsd.py",
        "torch.logaddexp(log_q_NV + math.log1p(-self.beta), teacher + math.log(self.beta))",
        "torch.logaddexp(log_q_NV + math.log(self.beta), teacher + math.log1p(-self.beta))",
    ),
    Mutation(
        "JSD: weights of the sides exchanged",
        f"{LOSSES}/jsd.py",
        "loss_N = self.beta * forward_N + (1 - self.beta) * reverse_N",
        "loss_N = (1 - self.beta) * forward_N + self.beta * reverse_N",
    ),
    Mutation(
        "JSD: weight left out of the gradient",
        f"{LOSSES}/jsd.py",
        "return loss_N, gradient_NV.mul_(1 - self.beta)",
        "return loss_N, gradient_NV",
    ),
    Mutation(
        "ULD: not sorted",
        f"{LOSSES}/unlike.py",
        "theirs_GU = t_GU.sort(1, descending=True).values",
        "theirs_GU = t_GU",
        "tests/distill/losses/test_unlike.py",
    ),
    Mutation(
        "hybrid: without the masses",
        f"{LOSSES}/unlike.py",
        "log_t_GC.sub_(log_m_GC).mul_(t_GC).add_(gap_GC).sum(1)",
        "log_t_GC.sub_(log_m_GC).mul_(t_GC).sum(1)",
        "tests/distill/losses/test_unlike.py",
    ),
    Mutation(
        "spans: what follows is asked one place too late",
        f"{LOSSES}/aligned_term.py",
        "follows_G.index_add_(0, owner_L, log_NV[later_L, said_L])",
        "follows_G.index_add_(0, owner_L, log_NV[(later_L + 1) % len(log_NV), said_L])",
        "tests/distill/losses/test_unlike.py",
    ),
    Mutation(
        "spans: no gradient through what follows",
        f"{LOSSES}/aligned_term.py",
        "gradient_NV.index_add_(0, self.later_L, later_LV, alpha=weight)",
        "pass",
        "tests/distill/losses/test_unlike.py",
    ),
    Mutation(
        "skewed KL: skew on the other side",
        f"{LOSSES}/skewed_kl.py",
        "log_m_NV = _mixture(teacher, log_q_NV, self.skew)",
        "log_m_NV = _mixture(log_q_NV, teacher, self.skew)",
    ),
    Mutation(
        "skewed KL: 1 - a left out of the gradient",
        f"{LOSSES}/skewed_kl.py",
        "ratio_NV = gap_NV.exp_().mul_(self.skew - 1)",
        "ratio_NV = gap_NV.exp_().neg_()",
    ),
    Mutation(
        "skewed reverse KL: skew on the other side",
        f"{LOSSES}/skewed_kl.py",
        "log_m_NV = _mixture(log_q_NV, teacher, self.skew)",
        "log_m_NV = _mixture(teacher, log_q_NV, self.skew)",
    ),
    Mutation(
        "skewed reverse KL: gradient of plain reverse KL",
        f"{LOSSES}/skewed_kl.py",
        "slope_NV = gap_NV.sub_(gap_NV.exp(), alpha=self.skew)",
        "slope_NV = gap_NV",
    ),
    Mutation(
        "hidden states: the teacher learns",
        f"{LOSSES}/hidden_state.py",
        "teacher_NG.detach().to(dtype)",
        "teacher_NG.to(dtype)",
    ),
    Mutation(
        "hidden states: summed over dimensions",
        f"{LOSSES}/hidden_state.py",
        ".square().mean(-1).sum()",
        ".square().sum(-1).sum()",
    ),
    Mutation(
        "hidden states: mask not shifted",
        f"{TRAINERS}/features.py",
        "return self._states.pop(number)[where_BT]",
        "return self._states.pop(number)[where_BT.roll(1, 1)]",
        "tests/distill/test_features.py",
    ),
    Mutation(
        "hidden states: a mean over tokens, not their sum",
        f"{TRAINERS}/features.py",
        "return total / len(self.pairs)",
        "return total / len(self.pairs) / where_BT.sum()",
        "tests/distill/test_features.py",
    ),
    Mutation(
        "hidden states: gradient through the factor",
        f"{TRAINERS}/features.py",
        "size = distance.detach().clamp(",
        "size = distance.clamp(",
        "tests/distill/test_features.py",
    ),
    Mutation(
        "store, top k: head renormalised",
        f"{SIGNALS}/cached.py",
        "return TopK(ids_NK, log_probs_NK / temperature - log_z_N.unsqueeze(1), log_tail_N)",
        "return TopK(ids_NK, (log_probs_NK / temperature).log_softmax(1), log_tail_N)",
        "tests/distill/signals",
    ),
    Mutation(
        "store, top k: the temperature's own log_z left out",
        f"{SIGNALS}/cached.py",
        "log_probs_NK / temperature - log_z_N.unsqueeze(1)",
        "log_probs_NK / temperature",
        "tests/distill/signals",
    ),
    Mutation(
        "store, draws: counts ignored",
        f"{SIGNALS}/cached.py",
        "shares_NK = counts_NK[:, :used] / self.key.k",
        "shares_NK = (counts_NK[:, :used] > 0).float() / self.key.k",
        "tests/distill/signals",
    ),
    Mutation(
        "several teachers: mean of logarithms",
        f"{SIGNALS}/ensemble.py",
        "weighted_NV if mixed_NV is None else torch.logaddexp(mixed_NV, weighted_NV)",
        "weighted_NV if mixed_NV is None else (mixed_NV + weighted_NV) / 2",
        "tests/distill/signals",
    ),
    Mutation(
        "logit: num_items_in_batch ignored",
        f"{TRAINERS}/answers.py",
        'normalise(outputs["total"], tokens, num_items_in_batch, processes)',
        'normalise(outputs["total"], tokens, None, processes)',
        "tests/distill/test_logit.py",
    ),
    Mutation(
        "mixture of experts: their balance ignored",
        f"{TRAINERS}/answers.py",
        "loss = loss + self.router_aux_loss_coef * outputs[_BALANCE] / passes",
        "pass",
        "tests/distill/test_answers.py",
    ),
    Mutation(
        "logit: alpha ignored",
        f"{TRAINERS}/logit.py",
        'learned_targets(inputs["labels"]), weight=self._config.alpha)',
        'learned_targets(inputs["labels"]))',
        "tests/distill/test_logit.py",
    ),
    Mutation(
        "logit: beta ignored online",
        f"{TRAINERS}/teacher_signal.py",
        "return OnlineSignal(config, teacher, width, config.beta)",
        "return OnlineSignal(config, teacher, width)",
        "tests/distill/test_logit.py",
    ),
    Mutation(
        "logit: beta ignored from a store",
        f"{TRAINERS}/teacher_signal.py",
        "            self._config.beta,\n        )",
        "            1.0,\n        )",
        "tests/distill/test_logit.py",
    ),
    Mutation(
        "the student's temperature ignored",
        f"{TRAINERS}/teacher_signal.py",
        "DistillTerm(self._divergence, dense, temperature, self._width, self._weight)",
        "DistillTerm(self._divergence, dense, 1.0, self._width, self._weight)",
        "tests/distill/test_logit.py",
    ),
    Mutation(
        "the mixture of JSD and the skewed ones ignored",
        f"{TRAINERS}/teacher_signal.py",
        "options = {name: config.mixture} if name and config.mixture is not None else {}",
        "options: dict[str, float] = {}",
        "tests/distill/test_logit.py",
    ),
    Mutation(
        "padded ids in the softmax",
        f"{TRAINERS}/teacher_signal.py",
        "DistillTerm(self._divergence, dense, temperature, self._width, self._weight)",
        "DistillTerm(self._divergence, dense, temperature, None, self._weight)",
        "tests/distill/test_logit.py",
    ),
    Mutation(
        "on-policy: num_items_in_batch ignored",
        f"{TRAINERS}/on_policy.py",
        "items = tokens.clamp(min=1) if num_items_in_batch is None else num_items_in_batch",
        "items = tokens.clamp(min=1)",
        "tests/distill/test_on_policy.py",
    ),
    Mutation(
        "on-policy: prompts learned too",
        f"{TRAINERS}/on_policy.py",
        "torch.cat([torch.full_like(prompt, MASKED), answer])",
        "torch.cat([prompt, answer])",
        "tests/distill/test_on_policy.py",
    ),
    Mutation(
        "on-policy: the student's temperature ignored",
        f"{TRAINERS}/teacher_signal.py",
        "DistillTerm(self._divergence, dense, temperature, self._width, self._weight)",
        "DistillTerm(self._divergence, dense, 1.0, self._width, self._weight)",
        "tests/distill/test_on_policy.py",
    ),
    Mutation(
        "DPO: weight of the chosen answers' cross-entropy ignored",
        f"{TRAINERS}/dpo.py",
        "loss_weights=[1.0, config.sft_weight] if config.sft_weight else None",
        "loss_weights=None",
        "tests/distill/test_preference_methods.py",
    ),
    Mutation(
        "DPO: label smoothing ignored",
        f"{TRAINERS}/dpo.py",
        "            label_smoothing=config.label_smoothing,\n",
        "            label_smoothing=0.1,\n",
        "tests/distill/test_preference_methods.py",
    ),
    Mutation(
        "DPO: beta ignored",
        f"{TRAINERS}/dpo.py",
        "            beta=config.beta,\n",
        "",
        "tests/distill/test_preference_methods.py",
    ),
    Mutation(
        "KTO: weights of the classes exchanged",
        f"{TRAINERS}/kto.py",
        "desirable_weight=weights.desirable",
        "desirable_weight=weights.undesirable",
        "tests/distill/test_preference_methods.py",
    ),
    Mutation(
        "KTO: each answer compared with itself",
        f"{TRAINERS}/kto.py",
        "[batch[-1], *batch[:-1]] if len(batch) > 1",
        "batch if len(batch) > 1",
        "tests/distill/test_preference_methods.py",
    ),
)


def noticed_by(mutation: Mutation, folder: Path) -> list[str]:
    """The tests that fail on the mutated copy in `folder`."""
    file = folder / mutation.file
    before = file.read_text(encoding="utf-8")
    if before.count(mutation.right) != 1:
        raise SystemExit(f"{mutation.name}: its line is not (once) in {mutation.file}.")
    file.write_text(before.replace(mutation.right, mutation.wrong), encoding="utf-8")
    try:
        argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-m", "not slow"]
        if "losses" not in mutation.tests:  # these train: the first that fails will do
            argv.append("-x")
        found = subprocess.run(
            [*argv, mutation.tests], cwd=folder, capture_output=True, text=True, check=False
        )
    finally:
        file.write_text(before, encoding="utf-8")
    lines = found.stdout.splitlines()
    failed = [line.split()[1] for line in lines if line.startswith("FAILED")]
    if not failed and found.returncode:
        raise SystemExit(f"{mutation.name}: the tests did not run:\n{found.stdout[-2000:]}")
    return failed


def main() -> int:
    """Run them all; 1 when one goes unnoticed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--only", default="", help="only names that match this regular expression")
    args = parser.parse_args()
    chosen = [mutation for mutation in MUTATIONS if re.search(args.only, mutation.name)]
    missed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("distill_studio", "tests"):
            shutil.copytree(
                ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__")
            )
        shutil.copy(ROOT / "pyproject.toml", folder)
        (folder / "assets").symlink_to(ROOT / "assets")
        print("| broken | tests that fail | the first |\n|---|---|---|")
        for mutation in chosen:
            failed = noticed_by(mutation, folder)
            missed += not failed
            first = failed[0].rpartition("::")[2] if failed else "NOT NOTICED"
            count = len(failed) if "losses" in mutation.tests else "≥ 1" if failed else 0
            print(f"| {mutation.name} | {count} | {first} |", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
