import torch

from streamvis.detect.head import Head, cell_corners


def make_pyramid(channels: int, side: int = 64) -> dict[int, torch.Tensor]:
    torch.manual_seed(0)
    return {s: torch.randn(2, channels, side // s, side // s) for s in (8, 16, 32)}


def test_one_row_per_cell_fine_to_coarse() -> None:
    logits, xyxy = Head(16, 8).eval()(make_pyramid(16))
    assert logits.shape == (2, 64 + 16 + 4, 8)
    assert xyxy.shape == (2, 84, 4)
    assert (xyxy[..., 2:] > xyxy[..., :2]).all()


def test_a_silent_regressor_gives_a_cell_sized_box_at_its_corner() -> None:
    head = Head(16, 8).eval()
    for layer in head.regress:
        torch.nn.init.zeros_(layer.get_parameter("weight"))
        torch.nn.init.zeros_(layer.get_parameter("bias"))
    _, xyxy = head(make_pyramid(16))
    assert xyxy[0, 9].tolist() == [4.0, 4.0, 12.0, 12.0]  # stride 8, column 1, row 1
    assert xyxy[0, -1].tolist() == [16.0, 16.0, 48.0, 48.0]  # stride 32, column 1, row 1


def test_cells_are_row_major() -> None:
    assert cell_corners(2, 3, torch.device("cpu")).tolist()[:4] == [[0, 0], [1, 0], [2, 0], [0, 1]]


def test_a_new_head_is_sure_of_nothing() -> None:
    logits, _ = Head(16, 8).eval()({s: torch.zeros(1, 16, 2, 2) for s in (8, 16, 32)})
    assert logits.sigmoid().max() < 0.05
