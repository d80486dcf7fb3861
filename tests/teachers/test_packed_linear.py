"""Packed layers compute what plain ones do."""

import pytest
import torch
from torch import nn

from distill_studio.teachers.packed_linear import PackedLinear, can_pack, pack

pytestmark = pytest.mark.skipif(not can_pack(), reason="no bfloat16 products on this processor")


@pytest.mark.parametrize("shape", [(1, 24), (7, 24), (3, 50, 24), (300, 24)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_packed_layer_computes_what_the_plain_one_does(shape, bias):
    torch.manual_seed(0)
    plain = nn.Linear(24, 40, bias=bias)
    x = torch.randn(*shape)
    with torch.inference_mode():
        packed = PackedLinear(plain.bfloat16(), rows=64)(x.bfloat16())
        exact = plain.float()(x.bfloat16().float())
    assert packed.dtype == torch.bfloat16
    assert packed.shape == (*shape[:-1], 40)
    torch.testing.assert_close(packed.float(), exact, atol=0.02, rtol=0.02)


def test_only_plain_layers_are_replaced():
    class Own(nn.Linear):
        pass

    model = nn.Sequential(nn.Linear(8, 8), nn.ModuleDict({"a": nn.Linear(8, 4), "b": Own(8, 4)}))
    pack(model.bfloat16(), rows=16)
    assert isinstance(model[0], PackedLinear)
    assert isinstance(model[1]["a"], PackedLinear)
    assert type(model[1]["b"]) is Own
