"""The next token of each row, each by its own temperature, nucleus and random stream.

`likeliest` tells how sure the model itself was of it. A row's draw depends on its own logits and
seed only, not on the other rows of its batch.
"""

from dataclasses import dataclass

import torch

_LIKELY = (256, 4096)  # a nucleus is looked for among so many tokens first: sorting is slow


@dataclass
class RowSampler:
    """How one row is sampled; `random` draws from [0, 1) on the CPU."""

    temperature: float
    top_p: float
    random: torch.Generator

    @classmethod
    def seeded(cls, temperature: float, top_p: float, seed: int | None) -> "RowSampler":
        """A sampler with its own random stream; without a seed, an unforeseeable one."""
        random = torch.Generator()
        if seed is None:
            random.seed()
        else:
            random.manual_seed(seed)
        return cls(temperature, top_p, random)


@dataclass(frozen=True)
class TokenChoice:
    """A written token and the likeliest ones in its place, by the model's own distribution."""

    token_id: int
    logprob: float
    top_ids: tuple[int, ...]
    top_logprobs: tuple[float, ...]


def likeliest(logits_BV: torch.Tensor, tokens: list[int], counts: list[int]) -> list[TokenChoice]:
    """Log-probabilities of the tokens just drawn and of the `counts` likeliest, row by row.

    Of the raw distribution: before temperature and nucleus, which shape the draw only. That is
    what distillation learns from, and what vLLM returns by default.
    """
    logits_BV = logits_BV.float()
    norm_B1 = logits_BV.logsumexp(-1, keepdim=True)
    drawn_B1 = torch.tensor(tokens, device=logits_BV.device)[:, None]
    chosen: list[float] = (logits_BV.gather(1, drawn_B1) - norm_B1)[:, 0].tolist()
    top_BK, ids_BK = torch.topk(logits_BV, min(max(counts), logits_BV.shape[-1]), dim=-1)
    logprobs, ids = (top_BK - norm_B1).tolist(), ids_BK.tolist()
    return [
        TokenChoice(token, chosen[i], tuple(ids[i][:count]), tuple(logprobs[i][:count]))
        for i, (token, count) in enumerate(zip(tokens, counts, strict=True))
    ]


def next_tokens(logits_BV: torch.Tensor, samplers: list[RowSampler]) -> list[int]:
    """One token id per row; greedy where the temperature is 0."""
    tokens: list[int] = torch.argmax(logits_BV, dim=-1).tolist()
    drawn = [i for i, sampler in enumerate(samplers) if sampler.temperature > 0]
    if drawn:
        rows = [samplers[i] for i in drawn]
        for i, token in zip(drawn, _draw(logits_BV[drawn], rows), strict=True):
            tokens[i] = token
    return tokens


def _draw(logits_BV: torch.Tensor, samplers: list[RowSampler]) -> list[int]:
    device = logits_BV.device
    temperature_B = torch.tensor([s.temperature for s in samplers], device=device)
    top_p_B = torch.tensor([s.top_p for s in samplers], device=device)
    chance_B = torch.stack([torch.rand((), generator=s.random) for s in samplers]).to(device)
    probs_BV = torch.softmax(logits_BV.float() / temperature_B[:, None], dim=-1)

    tokens_B = torch.empty(len(samplers), dtype=torch.long, device=device)
    is_whole_B = top_p_B >= 1.0
    if bool(is_whole_B.any()):
        tokens_B[is_whole_B] = _inverse_cdf(probs_BV[is_whole_B], chance_B[is_whole_B])
    rest_B = ~is_whole_B
    if bool(rest_B.any()):
        tokens_B[rest_B] = _nucleus(probs_BV[rest_B], top_p_B[rest_B], chance_B[rest_B])
    result: list[int] = tokens_B.tolist()
    return result


def _nucleus(probs_BV: torch.Tensor, top_p_B: torch.Tensor, chance_B: torch.Tensor) -> torch.Tensor:
    """Draw among the fewest tokens whose probabilities reach top_p (Holtzman et al. 2020)."""
    tokens_B = torch.empty_like(top_p_B, dtype=torch.long)
    todo_B = torch.arange(len(top_p_B), device=probs_BV.device)
    for count in (*(n for n in _LIKELY if n < probs_BV.shape[-1]), probs_BV.shape[-1]):
        kept_BK, ids_BK = torch.topk(probs_BV[todo_B], count, dim=-1)
        before_BK = kept_BK.cumsum(-1) - kept_BK
        nucleus_BK = torch.where(before_BK < top_p_B[todo_B, None], kept_BK, 0.0)
        place_B = _inverse_cdf(nucleus_BK, chance_B[todo_B])
        tokens_B[todo_B] = ids_BK.gather(1, place_B[:, None])[:, 0]
        todo_B = todo_B[kept_BK.sum(-1) < top_p_B[todo_B]]  # flat rows: look further
        if not len(todo_B):
            break
    return tokens_B


def _inverse_cdf(weights_BK: torch.Tensor, chance_B: torch.Tensor) -> torch.Tensor:
    total_BK = weights_BK.double().cumsum(-1)
    wanted_B1 = (chance_B.double() * total_BK[:, -1])[:, None]
    place_B1 = torch.searchsorted(total_BK, wanted_B1, right=True)
    last_B = (
        (weights_BK > 0).long().mul(torch.arange(weights_BK.shape[-1], device=weights_BK.device))
    )
    return torch.minimum(place_B1[:, 0], last_B.amax(-1))
