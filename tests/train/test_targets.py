import torch

from streamvis.train.batches import Batch
from streamvis.train.config import LossConfig
from streamvis.train.loss import compute_losses, quality_focal, tile_worth
from streamvis.train.network import Answer
from streamvis.train.targets import Targets, assign_labels, make_targets, pair_iou
from streamvis.types import CLASSES

SIDE, K = 64, len(CLASSES)
A = 64 + 16 + 4  # cells at strides 8, 16, 32
CAR, SIGN = CLASSES.index("car"), CLASSES.index("traffic_sign")
CONFIG = LossConfig()


def make_batch(boxes: list[list[float]], class_id: int = CAR, labelled: bool = True) -> Batch:
    return Batch(
        images=torch.zeros(1, SIDE, SIDE, 3, dtype=torch.uint8),
        row=torch.zeros(len(boxes), dtype=torch.long),
        xyxy=torch.tensor(boxes).view(-1, 4),
        class_id=torch.full((len(boxes),), class_id),
        labelled=torch.full((1, A, K), labelled),
        ignored=torch.zeros(1, A, dtype=torch.bool),
        teacher_xyxy=cell_boxes(),
        teacher_score=torch.zeros(1, A, K),
        presence=torch.zeros(1, 80),
    )


def cell_boxes() -> torch.Tensor:
    """Each cell says a box of twice its stride around itself: [1, A, 4]."""
    rows = []
    for stride in (8, 16, 32):
        for y in range(SIDE // stride):
            for x in range(SIDE // stride):
                cx, cy = (x + 0.5) * stride, (y + 0.5) * stride
                rows.append([cx - stride, cy - stride, cx + stride, cy + stride])
    return torch.tensor(rows)[None]


def even_scores() -> torch.Tensor:
    return torch.full((1, A, K), 0.1)


def test_pair_iou() -> None:
    a = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10]])
    b = torch.tensor([[0.0, 5, 10, 15], [20, 20, 30, 30]])
    torch.testing.assert_close(pair_iou(a, b), torch.tensor([1 / 3, 0.0]))


def test_the_best_fitting_cell_answers() -> None:
    labels = assign_labels(make_batch([[16.0, 16, 32, 32]]), even_scores(), cell_boxes())
    best = int(labels.box_weight[0].argmax())
    assert best in (2 * 8 + 2, 2 * 8 + 3, 3 * 8 + 2, 3 * 8 + 3)  # stride 8, about its middle
    torch.testing.assert_close(labels.score[0, best, CAR], labels.box_weight[0, best])
    assert labels.score[..., SIGN].sum() == 0
    assert labels.xyxy[0, best].tolist() == [16, 16, 32, 32]


def test_a_cell_that_is_right_should_be_sure() -> None:
    target = [8.0, 8, 40, 40]  # what stride 16's cell (1, 1) says
    labels = assign_labels(make_batch([target]), even_scores(), cell_boxes())
    torch.testing.assert_close(labels.box_weight[0, 64 + 4 + 1], torch.tensor(1.0))


def test_objects_smaller_than_a_cell_are_answered_for() -> None:
    labels = assign_labels(make_batch([[30.0, 30, 33, 34]]), even_scores(), cell_boxes())
    assert (labels.box_weight > 0).any()


def test_no_objects() -> None:
    labels = assign_labels(make_batch([]), even_scores(), cell_boxes())
    assert labels.score.sum() == 0


def test_each_cell_answers_for_one_object() -> None:
    boxes = [[16.0, 16, 32, 32], [17.0, 16, 33, 32]]
    labels = assign_labels(make_batch(boxes), even_scores(), cell_boxes())
    answered = labels.xyxy[0][labels.box_weight[0] > 0]
    assert {tuple(row) for row in answered.tolist()} <= {tuple(box) for box in boxes}


def test_unlabelled_classes_learn_the_teacher() -> None:
    batch = make_batch([], labelled=False)
    batch.teacher_score[0, 5, CAR] = 0.7
    targets = make_targets(batch, even_scores(), cell_boxes(), CONFIG)
    assert targets.score[0, 5, CAR] == batch.teacher_score[0, 5, CAR]
    assert targets.box_weight[0].nonzero().tolist() == [[5]]
    assert targets.score_weight[..., SIGN].sum() == 0  # it knows stop signs only
    assert targets.score_weight[..., CAR].all()


def test_labels_beat_the_teacher_and_disputes_teach_nothing() -> None:
    batch = make_batch([])
    batch.teacher_score[0, 5, CAR] = 0.7
    batch.teacher_score[0, 6, CAR] = 0.3
    targets = make_targets(batch, even_scores(), cell_boxes(), CONFIG)
    assert targets.score.sum() == 0
    assert targets.box_weight.sum() == 0
    assert targets.score_weight[0, 5:7, CAR].tolist() == [0, 1]


def test_nothing_is_learned_in_ignored_cells() -> None:
    batch = make_batch([])
    batch.ignored[0, 9] = True
    targets = make_targets(batch, even_scores(), cell_boxes(), CONFIG)
    assert targets.score_weight[0, 9].sum() == 0
    assert targets.score_weight[0, 8].all()


def test_quality_focal_is_zero_where_the_network_is_right() -> None:
    target = torch.tensor([0.0, 0.3, 1.0])
    right = torch.tensor([-30.0, torch.logit(torch.tensor(0.3)).item(), 30.0])
    assert quality_focal(right, target).max() < 1e-6
    assert quality_focal(-right, target).min() > 0.01


def make_answer(logits: torch.Tensor, xyxy: torch.Tensor) -> Answer:
    """Says nothing of presence and worth."""
    return Answer(logits, xyxy, torch.zeros(1, 80), torch.zeros(1, 1, 1))


def test_losses_have_gradients_that_lead_to_the_targets() -> None:
    batch = make_batch([[16.0, 16, 32, 32]])
    logits = torch.zeros(1, A, K, requires_grad=True)
    raw = cell_boxes().clone().requires_grad_()
    targets = make_targets(batch, logits.sigmoid(), raw, CONFIG)
    losses = compute_losses(make_answer(logits, raw), targets, batch)
    losses.total(CONFIG).backward()
    assert logits.grad is not None
    assert raw.grad is not None
    assert logits.grad[targets.score == 0].min() > 0  # background goes down
    assert raw.grad[targets.box_weight > 0].abs().sum() > 0
    assert raw.grad[targets.box_weight == 0].abs().sum() == 0


def test_a_tile_is_worth_it_if_some_cell_should_say_something() -> None:
    """128 px: 2x2 tiles; 16x16, 8x8 and 4x4 cells."""
    score = torch.zeros(1, 256 + 64 + 16, K)
    weight = torch.ones_like(score)
    score[0, 3 * 16 + 12, CAR] = 0.5  # stride 8, row 3, column 12: tile 1
    score[0, 256 + 7 * 8 + 0, SIGN] = 0.5  # stride 16, row 7, column 0: tile 2
    score[0, 256 + 64 + 15, CAR] = 0.05  # stride 32, last: tile 3, but unsure
    score[0, 0, CAR] = 0.9
    weight[0, 0] = 0  # tile 0: nothing is known there
    targets = Targets(score, weight, torch.zeros(1, 336, 4), torch.zeros(1, 336))
    assert tile_worth(targets, torch.zeros(1, 2, 2)).tolist() == [[[0, 1], [1, 0]]]


def test_no_objects_give_finite_losses_that_learn_the_background() -> None:
    batch = make_batch([])
    logits = torch.zeros(1, A, K, requires_grad=True)
    targets = make_targets(batch, logits.sigmoid(), cell_boxes(), CONFIG)
    losses = compute_losses(make_answer(logits, cell_boxes()), targets, batch)
    assert losses.box == 0
    assert losses.score.isfinite()
    assert losses.score > 0
