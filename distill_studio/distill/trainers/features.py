"""Hidden states beside the logits: what chosen layers say while both models read a batch.

`FeatureMatcher` watches the layers by hooks and adds its term inside the student's forward. Linear
maps, where the two widths differ, hang on the student while it trains, so that every wrapper of
the model (adapters, several devices) sees them; they are taken off before it is saved.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from distill_studio.distill.config import FeatureConfig
from distill_studio.distill.layer_pairs import MAPS, LayerPairs, chosen_pairs
from distill_studio.distill.losses.hidden_state import (
    cosine_distance,
    mean_squared_error,
    project,
)
from distill_studio.distill.prune import decoder_layers

_MAPS_FILE = "feature_maps.safetensors"
_LEAST = 0.01  # distance per token below which the weight grows no more


class LayerTap:
    """Keeps what some layers hand on, from one forward to the next."""

    def __init__(self, model: Any, numbers: list[int]) -> None:  # noqa: ANN401
        self._states: dict[int, Tensor] = {}
        layers = decoder_layers(model)
        for number in numbers:
            layers[number - 1].register_forward_hook(self._keeper(number))

    def take(self, number: int, where_BT: Tensor) -> Tensor:
        """States (N, H) of layer `number` at the positions `where_BT`; kept no longer."""
        return self._states.pop(number)[where_BT]

    def _keeper(self, number: int) -> Any:  # noqa: ANN401
        def keep(_module: Any, _args: Any, output: Any) -> None:  # noqa: ANN401
            self._states[number] = output[0] if isinstance(output, tuple) else output

        return keep


class FeatureMatcher:
    """The distance between hidden states of pairs of layers.

    Args:
        config: Loss, weight and the wanted pairs.
        student: The causal LM without its adapters' wrapper; gets the maps.
        teacher: Likewise; both read every batch before `distance` is asked.
    """

    def __init__(self, config: FeatureConfig, student: Any, teacher: Any) -> None:  # noqa: ANN401
        self.config = config
        self.pairs: LayerPairs = chosen_pairs(
            config.pairs, len(decoder_layers(student)), len(decoder_layers(teacher))
        )
        self._student = student
        self._student_tap = LayerTap(student, [s for s, _ in self.pairs])
        self._teacher_tap = LayerTap(teacher, sorted({t for _, t in self.pairs}))
        ours, theirs = (int(m.config.get_text_config().hidden_size) for m in (student, teacher))
        self.has_maps = ours != theirs
        if self.has_maps:
            setattr(student, MAPS, _new_maps(len(self.pairs), ours, theirs, student.device))

    def distance(self, where_BT: Tensor) -> Tensor:
        """Sum over the learned positions of the mean over the pairs of layers."""
        theirs = {t: self._teacher_tap.take(t, where_BT) for t in {t for _, t in self.pairs}}
        total = torch.zeros((), device=where_BT.device)
        for index, (student, teacher) in enumerate(self.pairs):
            weight_GH = getattr(self._student, MAPS)[index] if self.has_maps else None
            states_NG = project(self._student_tap.take(student, where_BT), weight_GH)
            compare = cosine_distance if self.config.loss == "cosine" else mean_squared_error
            total = total + compare(states_NG, theirs[teacher])[0]
        return total / len(self.pairs)

    def weighted(self, distance: Tensor, divergence: Tensor, tokens: int) -> Tensor:
        """The term of the loss: brought to the size of the divergence, times the weight.

        (Minitron, Muralidharan et al. 2024, arXiv:2407.14679: a = L_logit / L_hidden, no gradient
        through a.) Below .01 per token, where layers agree, the factor grows no more.
        """
        size = distance.detach().clamp(min=_LEAST * max(tokens, 1))
        return self.config.weight * (divergence.detach() / size) * distance

    def save(self, folder: Path) -> None:
        """Write the maps into a checkpoint."""
        if self.has_maps:
            maps = getattr(self._student, MAPS)
            save_file({str(i): w.detach().cpu() for i, w in enumerate(maps)}, folder / _MAPS_FILE)

    def load(self, folder: Path) -> None:
        """Take the maps of a checkpoint up again."""
        if self.has_maps:
            stored = load_file(folder / _MAPS_FILE)
            with torch.no_grad():
                for index, weight_GH in enumerate(getattr(self._student, MAPS)):
                    weight_GH.copy_(stored[str(index)])


def _new_maps(count: int, ours: int, theirs: int, device: Any) -> nn.ParameterList:  # noqa: ANN401
    """Linear maps (G, H) in fp32, Xavier at first."""
    weights = [nn.Parameter(torch.empty(theirs, ours, device=device)) for _ in range(count)]
    for weight_GH in weights:
        nn.init.xavier_uniform_(weight_GH)
    return nn.ParameterList(weights)
