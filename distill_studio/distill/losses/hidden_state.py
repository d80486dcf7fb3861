"""Feature distillation: hidden states of a student's layer towards those of a teacher's layer.

Plain torch, differentiated by autograd: these tensors are (N, H), small beside logits. Where the
widths differ the student's states go through a linear map that is trained with it and thrown away
(FitNets, Romero et al. 2015, arXiv:1412.6550).
"""

import torch
from torch import Tensor
from torch.nn import functional


def project(student_NH: Tensor, weight_GH: Tensor | None) -> Tensor:
    """Student states (N, H) in the teacher's width G; as they are without a weight."""
    return student_NH if weight_GH is None else student_NH @ weight_GH.T.to(student_NH.dtype)


def cosine_distance(student_NG: Tensor, teacher_NG: Tensor) -> tuple[Tensor, int]:
    """(sum of 1 - cos over tokens, token count): the direction only."""
    student_NG, teacher_NG = _alike(student_NG, teacher_NG)
    cosine_N = functional.cosine_similarity(student_NG, teacher_NG, dim=-1)
    return (1.0 - cosine_N).sum(), student_NG.shape[0]


def mean_squared_error(student_NG: Tensor, teacher_NG: Tensor) -> tuple[Tensor, int]:
    """(sum over tokens of the squared error per dimension, token count).

    Each state is brought to mean 0 and variance 1 first, so that a few huge dimensions, as language
    models have, do not outweigh all others.

    Args:
        student_NG: Projected.
        teacher_NG: The teacher's; no gradient flows to it.
    """
    student_NG, teacher_NG = _alike(student_NG, teacher_NG)
    width = student_NG.shape[-1:]
    student_NG = functional.layer_norm(student_NG, width)
    teacher_NG = functional.layer_norm(teacher_NG, width)
    return (student_NG - teacher_NG).square().mean(-1).sum(), student_NG.shape[0]


def _alike(student_NG: Tensor, teacher_NG: Tensor) -> tuple[Tensor, Tensor]:
    """Both in fp32 (or float64), the teacher without gradient."""
    dtype = torch.promote_types(student_NG.dtype, torch.float32)
    return student_NG.to(dtype), teacher_NG.detach().to(dtype)
