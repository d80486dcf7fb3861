"""Keys and values of a running batch, written in place.

transformers' own cache copies all of itself for every token, which costs nearly as much time as
the model's products at 32 rows. Start at `new_cache`.
"""

import torch
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer

_SPARE = 1.25  # room kept beyond what is needed now
_STEP = 64


class GrowingLayer(DynamicLayer):
    """One attention layer's cache: a buffer with room at its end; rows come and go.

    `keys` and `values` are views of what is filled, (B, heads, T, width).
    """

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self._key_buffer = self._value_buffer = torch.empty(0)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append tokens; returns all keys and values."""
        if not self.is_initialized:
            self.dtype, self.device = key_states.dtype, key_states.device
            self._take(key_states[:, :, :0], value_states[:, :, :0], key_states.shape[2])
            self.is_initialized = True
        start = self.get_seq_length()
        end = start + key_states.shape[2]
        if end > self._key_buffer.shape[2]:
            self._take(self.keys, self.values, needed=end)
        self._key_buffer[:, :, start:end] = key_states
        self._value_buffer[:, :, start:end] = value_states
        self._show(end)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """Filled positions."""
        return int(self.keys.shape[2]) if self.is_initialized else 0

    def keep(self, rows_B: torch.Tensor, spare: int) -> None:
        """Keep these rows, without the first `spare` positions."""
        self._take(self.keys[rows_B, :, spare:], self.values[rows_B, :, spare:])

    def join(self, other: "GrowingLayer") -> None:
        """Add another cache's rows; the shorter side is padded on the left with zeros."""
        width = max(self.get_seq_length(), other.get_seq_length())
        self._take(
            torch.cat([_pad(self.keys, width), _pad(other.keys, width)]),
            torch.cat([_pad(self.values, width), _pad(other.values, width)]),
        )

    def _take(self, keys: torch.Tensor, values: torch.Tensor, needed: int = 0) -> None:
        length = int(keys.shape[2])
        room = int(max(length, needed) * _SPARE) // _STEP * _STEP + _STEP
        self._key_buffer = _with_room(keys, room)
        self._value_buffer = _with_room(values, room)
        self._show(length)

    def _show(self, length: int) -> None:
        self.keys = self._key_buffer[:, :, :length]
        self.values = self._value_buffer[:, :, :length]


def new_cache(config: PreTrainedConfig) -> DynamicCache:
    """An empty cache for a model; only its plain attention layers are growing ones."""
    cache = DynamicCache(config=config)
    cache.layers = [
        GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    return cache


def growing_layers(cache: DynamicCache) -> list[GrowingLayer] | None:
    """The layers when rows may join them, None for a model with other layers (sliding, state)."""
    layers = [layer for layer in cache.layers if isinstance(layer, GrowingLayer)]
    return layers if len(layers) == len(cache.layers) else None


def _with_room(filled_BHTD: torch.Tensor, room: int) -> torch.Tensor:
    rows, heads, length, width = filled_BHTD.shape
    # zeros, not empty: a masked position's value is multiplied by 0, and 0 x NaN is NaN
    buffer_BHTD = filled_BHTD.new_zeros((rows, heads, room, width))
    buffer_BHTD[:, :, :length] = filled_BHTD
    return buffer_BHTD


def _pad(filled_BHTD: torch.Tensor, width: int) -> torch.Tensor:
    missing = width - filled_BHTD.shape[2]
    return torch.nn.functional.pad(filled_BHTD, (0, 0, missing, 0)) if missing else filled_BHTD
