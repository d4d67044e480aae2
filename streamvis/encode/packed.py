"""Convolutions for inference on CPUs: weights in oneDNN's own order, ReLU and sum in one pass.

PyTorch's own convolution puts the weights in order at every call. Of a whole picture that is
little, of three tiles it is half the time. These are the operators torch.compile uses too; where
they are missing the plain module stays.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import conv_flop_count, register_flop_formula

_Pair = tuple[int, int]


def is_available() -> bool:
    return bool(
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch._C._nn, "mkldnn_reorder_conv2d_weight")
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
    )


class PackedConv(nn.Module):
    """As the ConvNorm it is made of, after folding."""

    def __init__(self, conv: nn.Conv2d, relu: bool) -> None:
        super().__init__()
        self._plain = conv.weight.detach().contiguous()
        self._weight: Tensor | None = None
        self._bias = None if conv.bias is None else conv.bias.detach()
        sides = (cast(_Pair, x) for x in (conv.padding, conv.stride, conv.dilation))
        self._how = (*(list(pair) for pair in sides), conv.groups)
        self._attr = "relu" if relu else "none"

    def forward(self, x: Tensor) -> Tensor:
        run = torch.ops.mkldnn._convolution_pointwise.default
        out: Tensor = run(x, self._packed(x), self._bias, *self._how, self._attr, [], "")
        return out

    def add_relu(self, x: Tensor, other: Tensor) -> Tensor:
        run = torch.ops.mkldnn._convolution_pointwise.binary
        how = (*self._how, "add", 1.0, "relu", [], "")
        out: Tensor = run(x, other, self._packed(x), self._bias, *how)
        return out

    def _packed(self, x: Tensor) -> Tensor:
        """The weights in the order that suits the first input: without one the library guesses,
        and some layers take ten times as long."""
        if self._weight is None:
            reorder: Any = torch._C._nn.mkldnn_reorder_conv2d_weight
            self._weight = reorder(self._plain.to_mkldnn(), *self._how, list(x.shape))
        assert self._weight is not None
        return self._weight


def _flops(x_shape: Any, second: Any, third: Any, *args: Any, out_shape: Any, **kwargs: Any) -> int:
    """Of both operators: with a sum the weight comes third, after what is added."""
    del args, kwargs
    weight = third if third is not None and len(third) == 4 else second
    return int(conv_flop_count(x_shape, weight, out_shape))


if is_available():
    register_flop_formula(torch.ops.mkldnn._convolution_pointwise)(_flops)
