from __future__ import annotations

import torch

from streamvis.detect.head import Head, cell_corners
from streamvis.encode.sv_tiny import STRIDES, SvTinyArch

ARCH = SvTinyArch(channels=(8, 8, 16), pyramid_channels=8)


def make_features(side: int = 64) -> tuple[dict[int, torch.Tensor], torch.Tensor]:
    """Pyramid and context."""
    generator = torch.Generator().manual_seed(0)
    pyramid = {s: torch.randn(2, 16, side // s, side // s, generator=generator) for s in STRIDES}
    return pyramid, torch.randn(2, 16, side // 32, side // 32, generator=generator)


def test_one_row_per_cell_fine_to_coarse() -> None:
    logits, xyxy = Head(ARCH, 8).eval()(*make_features())
    assert logits.shape == (2, 64 + 16 + 4, 8)
    assert xyxy.shape == (2, 84, 4)
    assert (xyxy[..., 2:] > xyxy[..., :2]).all()


def test_silent_outputs_give_a_cell_sized_box_at_its_corner() -> None:
    head = Head(ARCH, 8).eval()
    for layer in head.out.values():
        torch.nn.init.zeros_(layer.get_parameter("weight"))
        torch.nn.init.zeros_(layer.get_parameter("bias"))
    _, xyxy = head(*make_features())
    assert xyxy[0, 9].tolist() == [4.0, 4.0, 12.0, 12.0]  # stride 8, column 1, row 1
    assert xyxy[0, -1].tolist() == [16.0, 16.0, 48.0, 48.0]  # stride 32, column 1, row 1


def test_a_context_cell_speaks_to_the_cells_it_covers() -> None:
    head = Head(ARCH, 8).eval()
    pyramid, context = make_features()
    before, _ = head(pyramid, context)
    context[:, :, 1, 0] += 5  # lower left
    after, _ = head(pyramid, context)
    changed = (before != after).any(-1)[0]
    fine = torch.zeros(8, 8, dtype=torch.bool)
    fine[4:, :4] = True
    assert torch.equal(changed[:64], fine.flatten())
    assert changed[-4:].tolist() == [False, False, True, False]


def test_cells_are_row_major() -> None:
    assert cell_corners(2, 3, torch.device("cpu")).tolist()[:4] == [[0, 0], [1, 0], [2, 0], [0, 1]]


def test_a_new_head_is_sure_of_nothing() -> None:
    pyramid, context = make_features()
    silent = {stride: torch.zeros_like(x) for stride, x in pyramid.items()}
    logits, _ = Head(ARCH, 8).eval()(silent, torch.zeros_like(context))
    assert logits.sigmoid().max() < 0.05


def test_calibration_changes_the_logits_by_class_and_no_box() -> None:
    head = Head(ARCH, 8).eval()
    logits, xyxy = head(*make_features())
    scale, bias = torch.linspace(0.5, 2, 8), torch.linspace(-1, 1, 8)
    head.calibrate(scale.tolist(), bias.tolist())
    calibrated, same = head(*make_features())
    torch.testing.assert_close(calibrated, logits * scale + bias)
    assert torch.equal(same, xyxy)


def test_packed_it_says_the_same() -> None:
    head = Head(ARCH, 8).eval().requires_grad_(False)
    plain = head.rows(*make_features())
    head.pack()
    torch.testing.assert_close(head.rows(*make_features()), plain)
