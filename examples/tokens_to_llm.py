"""Hand a frame's semantic tokens to a language model.

    python examples/tokens_to_llm.py                        # the committed synthetic street
    python examples/tokens_to_llm.py --address tcp://127.0.0.1:7700   # a pipeline with sem
    python examples/tokens_to_llm.py --model Qwen/Qwen2.5-0.5B        # needs `transformers`

Two ways in, and what each costs in tokens beside the picture's raw patches:

soft   each slot's vector, box and share go through one linear layer (the projector of LLaVA, which
       is what you would train on captions) and stand in the prompt as 24 more embeddings
words  each slot is a word for its code and four for its box: any text model reads it, and learns
       the words by fine-tuning

Without --model a small random transformer takes the place of the language model: the shapes are
the real ones, the answer is noise. So is it with --model until the projector is trained.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from streamvis.client import SemMessage, Subscriber
from streamvis.config.load import load_config
from streamvis.pipeline import Pipeline
from streamvis.source.open import open_source
from streamvis.topology import PipelineConfig
from streamvis.types import FrameResult, TilePacket, Tokens

STREET = Path(__file__).parents[1] / "pipelines/av_4cam.yaml"
PATCH_PX = 14  # of CLIP's and most language models' vision towers
BEFORE, AFTER = "The camera sees:", "Is it safe to turn left?"


class Projector(nn.Module):
    """What a slot says and where it lies -> the language model's embedding space."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.layer = nn.Linear(size + 5, hidden)

    def forward(self, tokens: Tokens, source_size: tuple[int, int]) -> Tensor:
        """float32 [1, S, hidden]"""
        boxes = tokens.xyxy / np.tile(np.float32(source_size), 2)
        slots = np.concatenate([tokens.vectors, boxes, tokens.share[:, None]], 1)
        out: Tensor = self.layer(torch.from_numpy(slots.astype(np.float32)))
        return out[None]


class StandIn(nn.Module):
    """A language model's shapes: words to embeddings, embeddings to logits."""

    def __init__(self, hidden: int = 256, vocabulary: int = 1000) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, hidden)
        layer = nn.TransformerEncoderLayer(hidden, 4, 2 * hidden, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(hidden, vocabulary)

    def embed(self, text: str) -> Tensor:
        """float32 [1, T, hidden], a token a word"""
        ids = [sum(word.encode()) % self.words.num_embeddings for word in text.split()]
        out: Tensor = self.words(torch.tensor([ids]))
        return out

    def forward(self, embeddings: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(embeddings.shape[1])
        out: Tensor = self.head(self.body(embeddings, mask, is_causal=True))
        return out


class Pretrained(nn.Module):
    """The same two verbs on a model of the transformers library."""

    def __init__(self, name: str) -> None:
        super().__init__()
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(name)
        self.model = AutoModelForCausalLM.from_pretrained(name)

    def embed(self, text: str) -> Tensor:
        ids = self.tokenizer(text, return_tensors="pt").input_ids
        out: Tensor = self.model.get_input_embeddings()(ids)
        return out

    def forward(self, embeddings: Tensor) -> Tensor:
        out: Tensor = self.model(inputs_embeds=embeddings).logits
        return out


def as_words(tokens: Tokens, source_size: tuple[int, int], min_share: float = 0.01) -> str:
    """Slots from left to right: `<code_17> 12 40 35 66`, the box in percent of the picture."""
    percent = tokens.xyxy / np.tile(np.float32(source_size), 2) * 100
    order = [s for s in np.argsort(percent[:, 0]) if tokens.share[s] >= min_share]
    boxes = (" ".join(str(round(float(v))) for v in percent[s]) for s in order)
    return " ".join(f"<code_{tokens.codes[s]}> {box}" for s, box in zip(order, boxes, strict=True))


# ---------------------------------------------------------------- where the tokens come from


def from_pipeline(address: str) -> tuple[Tokens, tuple[int, int]]:
    """The newest frame of a pipeline with `opt_in: [sem]`."""
    with Subscriber(address, kinds=("sem",), timeout_ms=10_000) as results:
        message = next(results)
        assert isinstance(message, SemMessage)
        return message.tokens, message.source_size


class _Nowhere:
    """A pipeline's outlet that publishes nothing."""

    def send(self, result: FrameResult) -> None:
        pass

    def send_image(self, camera: str, frame_index: int, jpeg: bytes) -> None:
        pass

    def send_plan(self, packet: TilePacket, batch: int) -> None:
        pass


def from_street(weights: Path | None) -> tuple[Tokens, tuple[int, int]]:
    """One frame of the front camera of the synthetic street, through a pipeline of one process."""
    overrides = ["outputs=[{publish: {opt_in: [sem]}}]"]
    if weights:
        overrides.append(f"encoder.weights={weights.resolve()}")
    config = load_config(STREET, PipelineConfig, overrides)
    source = open_source("front", config.sources["front"], config.encoder.input_size)
    source.grab()
    frame = source.retrieve(t_ingest_ns=0)
    source.close()
    assert frame is not None
    (result,) = Pipeline(config, ["front"], _Nowhere(), epoch="example").step([frame])
    assert result.tokens is not None
    return result.tokens, result.source_size


def main() -> None:
    args = parse_args()
    torch.manual_seed(0)
    tokens, size = from_pipeline(args.address) if args.address else from_street(args.weights)
    model = Pretrained(args.model) if args.model else StandIn()
    with torch.inference_mode():
        before, after = model.embed(BEFORE), model.embed(AFTER)
        slots = Projector(tokens.vectors.shape[1], before.shape[2])(tokens, size)
        prompt = torch.cat([before, slots, after], 1)  # [1, T + S + T', hidden]
        logits = model(prompt)
    words = as_words(tokens, size)
    counts = f"{before.shape[1]} + {slots.shape[1]} + {after.shape[1]}"
    num_patches = (640 // PATCH_PX) * (384 // PATCH_PX)
    times = round(num_patches / slots.shape[1])
    print(f"tokens    vectors {tokens.vectors.shape}, codes below {tokens.num_codes}")
    print(f"soft      prompt {tuple(prompt.shape)} = {counts}; logits {tuple(logits.shape)}")
    print(f"words     {words[:76]} ...")
    print(f"raw       {num_patches} patches of {PATCH_PX} px for 640x384: {times} times as many")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--address", help="of a pipeline that publishes sem")
    parser.add_argument("--model", help="a causal language model for `transformers`")
    parser.add_argument(
        "--weights", type=Path, help="a bundle with tokens; the bundled one if none"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
