import pytest
import torch

from streamvis.encode.config import EncoderConfig
from streamvis.encode.encoder import build_encoder, choose_device, choose_dtype
from streamvis.errors import ConfigError

CPU = torch.device("cpu")


def test_dtype_follows_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert choose_dtype("auto", CPU) == torch.bfloat16
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert choose_dtype("auto", CPU) == torch.float32
    assert choose_dtype("bf16", CPU) == torch.bfloat16


def test_cuda_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == CPU
    with pytest.raises(ConfigError, match="no GPU here"):
        choose_device("cuda")


def test_the_encoder_none_makes_nothing() -> None:
    encoder = build_encoder(EncoderConfig(name="none", input_size=(128, 64)))
    features = encoder.encode_full(torch.zeros(3, 64, 128, 3, dtype=torch.uint8))
    assert features.pyramid == {}
    assert features.embedding.shape == (3, 0)
