"""A BERT sentence encoder (all-MiniLM-L6-v2 and its kin) in NumPy: no torch to import, no padding to compute.

Importing torch, transformers and sentence-transformers takes longer than a decision: this reads the same files
(`config.json`, `tokenizer.json`, `model.safetensors`) and computes the same vectors to float32's accuracy. Texts of a
batch lie behind each other in one matrix, so that short ones cost no padding; batches run in threads of their own, each
with single-threaded linear algebra, so that no core waits for another within a layer.

Source: J. Devlin et al., BERT (arXiv 1810.04805); the order of operations is transformers' BertModel, then mean pooling
and unit norm (sentence-transformers' Pooling and Normalize).
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Float32 = NDArray[np.float32]
Spans = Sequence[tuple[int, int]]
"""First and last + 1 row of each text of a batch."""
Layers = Sequence[Callable[[Float32, Spans, float], Float32]]

Precision = Literal["float32", "bfloat16", "auto"]
MANY = 256
"""Texts whose faster products pay for importing torch."""
BATCH_TOKENS = 512
"""Tokens of a batch: its widest layer (1536 floats a token) stays in the processor's cache."""
CHARS_PER_TOKEN = 24
"""Characters that are tokenised at first per token that is read; more only where these were not enough."""


class UnsupportedModelError(ValueError):
    """The folder holds no model of the kind this module computes."""


class MiniLM:
    """The encoder in `folder`; may be shared between threads. Raises UnsupportedModelError."""

    def __init__(
        self,
        folder: Path,
        threads: int | None = None,
        precision: Precision = "float32",
    ) -> None:
        """
        threads: batches computed at once; None takes the processors this process may use.
        precision: bfloat16 takes torch for the layers of several batches, where the processor has such products; auto
            does so from MANY texts on.
        """
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        try:
            config = json.loads((folder / "config.json").read_text())
            reading = json.loads((folder / "sentence_bert_config.json").read_text())
            parts = [part["type"].rsplit(".", 1)[-1] for part in json.loads((folder / "modules.json").read_text())]
            pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
        except (OSError, ValueError) as error:
            raise UnsupportedModelError(f"{folder}: {error}") from error
        pooled = [name for name, on in pooling.items() if name.startswith("pooling_mode") and on]
        kind = (config.get("model_type"), config.get("hidden_act"), config.get("position_embedding_type", "absolute"))
        if kind != ("bert", "gelu", "absolute") or parts != ["Transformer", "Pooling", "Normalize"]:
            raise UnsupportedModelError(f"{folder}: {kind} with {parts} is not computed here")
        if pooled != ["pooling_mode_mean_tokens"]:
            raise UnsupportedModelError(f"{folder}: pooling {pooled} is not computed here")
        self.max_tokens = int(reading["max_seq_length"])
        self.heads = int(config["num_attention_heads"])
        self.epsilon = float(config["layer_norm_eps"])
        self.threads = threads or len(os.sched_getaffinity(0))
        self.folder = folder
        self.tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.max_tokens)
        weights = {
            name.removeprefix("bert."): tensor for name, tensor in load_file(folder / "model.safetensors").items()
        }
        try:
            self._embed = _Embedding(weights)
            self._layers = [Layer(weights, number, self.heads) for number in range(int(config["num_hidden_layers"]))]
        except KeyError as error:
            raise UnsupportedModelError(f"{folder}: no weight {error}") from error
        self.dimension = int(config["hidden_size"])
        many = {"float32": None, "bfloat16": 0, "auto": MANY}[precision]
        self._fast_from = many if many is not None and has_bfloat16() else None
        """Number of texts from which on bfloat16 is used; None never uses it."""
        self._fast: Layers | None = None

    def encode(self, texts: Sequence[str], progress: bool = False) -> Float32:
        """(n, d) unit-norm embeddings of the texts, each by its first `max_tokens` tokens."""
        from tqdm import tqdm

        ids = self.tokenise(texts)
        batches = _batches(sorted(range(len(ids)), key=lambda i: len(ids[i])), ids)
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        with tqdm(total=len(texts), disable=not progress, unit="text") as bar:

            def run(layers: Layers, batch: list[int]) -> None:
                vectors[batch] = self._forward(layers, [ids[i] for i in batch])
                bar.update(len(batch))

            if len(batches) == 1:  # a single text: here linear algebra may use all cores
                run(self._layers, batches[0])
                return vectors
            with ExitStack() as stack:
                layers: Layers = self._layers
                if self._fast_from is not None and len(texts) >= self._fast_from:
                    from router.minilm_torch import bfloat16_layers, one_thread_each

                    layers = self._fast = self._fast or bfloat16_layers(self._layers)
                    prepare = stack.enter_context(one_thread_each())
                else:
                    from threadpoolctl import threadpool_limits

                    stack.enter_context(threadpool_limits(limits=1, user_api="blas"))
                    prepare = None
                pool = stack.enter_context(ThreadPoolExecutor(self.threads, initializer=prepare))
                # the longest first: no thread is left alone with them
                list(pool.map(partial(run, layers), reversed(batches)))
        return vectors

    def weight_digests(self) -> list[str]:
        """SHA-256 of every weight's shape and float32 values, sorted, as `router.embedding` needs them."""
        from safetensors.numpy import load_file

        weights = load_file(self.folder / "model.safetensors")
        return sorted(
            sha256(f"{tensor.shape}".encode() + _f32(tensor).tobytes()).hexdigest()
            for name, tensor in weights.items()
            if not name.endswith("position_ids")  # counts upwards, nothing learned
        )

    def tokenise(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, at most `max_tokens`.

        Only the head of a long text is tokenised. It is cut at white space, where this tokenizer ends every word, so
        that the tokens are those of the whole text; where they are too few, the whole text is read.
        """
        limit = self.max_tokens * CHARS_PER_TOKEN
        heads = [_head(text, limit) for text in texts]
        encodings = self.tokenizer.encode_batch(heads)
        return [
            (encoding if len(encoding.ids) >= self.max_tokens or head is text else self.tokenizer.encode(text)).ids
            for encoding, head, text in zip(encodings, heads, texts, strict=True)
        ]

    def _forward(self, layers: Layers, ids: Sequence[Sequence[int]]) -> Float32:
        lengths = np.array([len(row) for row in ids])
        x = self._embed(ids, self.epsilon)
        ends = np.cumsum(lengths)
        spans = list(zip((ends - lengths).tolist(), ends.tolist(), strict=True))
        for layer in layers:
            x = layer(x, spans, self.epsilon)
        pooled = np.add.reduceat(x, ends - lengths, axis=0) / lengths[:, None].astype(np.float32)
        pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
        return np.asarray(pooled, dtype=np.float32)


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself; emulated, it is slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


class _Embedding:
    def __init__(self, weights: dict[str, NDArray[Any]]) -> None:
        self.words = _f32(weights["embeddings.word_embeddings.weight"])
        positions = _f32(weights["embeddings.position_embeddings.weight"])
        self.places = positions + _f32(weights["embeddings.token_type_embeddings.weight"])[0]
        self.gain = _f32(weights["embeddings.LayerNorm.weight"])
        self.shift = _f32(weights["embeddings.LayerNorm.bias"])

    def __call__(self, ids: Sequence[Sequence[int]], epsilon: float) -> Float32:
        x = self.words[np.concatenate([np.asarray(row) for row in ids])]
        x += np.concatenate([self.places[: len(row)] for row in ids])
        return _normalise(x, self.gain, self.shift, epsilon)


class Layer:
    """One encoder layer, its query, key and value as one product."""

    def __init__(self, weights: dict[str, NDArray[Any]], number: int, heads: int) -> None:
        def get(name: str) -> Float32:
            return _f32(weights[f"encoder.layer.{number}.{name}"])

        self.heads = heads
        parts = [f"attention.self.{name}" for name in ("query", "key", "value")]
        self.qkv = np.ascontiguousarray(np.concatenate([get(f"{part}.weight") for part in parts]).T)
        self.qkv_bias = np.concatenate([get(f"{part}.bias") for part in parts])
        width = self.qkv.shape[0]
        scale = np.float32(1 / np.sqrt(width // heads))
        self.qkv[:, :width] *= scale
        self.qkv_bias[:width] *= scale
        self.out = np.ascontiguousarray(get("attention.output.dense.weight").T)
        self.out_bias = get("attention.output.dense.bias")
        self.norm1 = get("attention.output.LayerNorm.weight"), get("attention.output.LayerNorm.bias")
        self.up = np.ascontiguousarray(get("intermediate.dense.weight").T)
        self.up_bias = get("intermediate.dense.bias")
        self.down = np.ascontiguousarray(get("output.dense.weight").T)
        self.down_bias = get("output.dense.bias")
        self.norm2 = get("output.LayerNorm.weight"), get("output.LayerNorm.bias")

    def __call__(self, x: Float32, spans: Spans, epsilon: float) -> Float32:
        tokens = len(x)
        attended = np.matmul(self._attend(x, spans), self.out, out=_scratch("attended", tokens, self.out.shape[1]))
        attended += self.out_bias
        attended += x
        x = _normalise(attended, *self.norm1, epsilon)
        wide = np.matmul(x, self.up, out=_scratch("wide", tokens, self.up.shape[1]))
        wide += self.up_bias
        narrow = np.matmul(_gelu(wide), self.down, out=_scratch("narrow", tokens, self.down.shape[1]))
        narrow += self.down_bias
        narrow += x
        return _normalise(narrow, *self.norm2, epsilon)

    def _attend(self, x: Float32, spans: Spans) -> Float32:
        tokens, width = x.shape
        mixed = np.matmul(x, self.qkv, out=_scratch("mixed", tokens, 3 * width))
        mixed += self.qkv_bias
        query, key, value = mixed.reshape(tokens, 3, self.heads, -1).transpose(1, 2, 0, 3)
        out = _scratch("seen values", tokens, self.heads, width // self.heads)
        for start, end in spans:  # a text's tokens see each other and no other text's
            length = end - start
            seen = _scratch("seen", self.heads, length, length)
            np.matmul(query[:, start:end], key[:, start:end].transpose(0, 2, 1), out=seen)
            seen -= seen.max(axis=-1, keepdims=True)
            np.exp(seen, out=seen)
            total = seen @ np.ones((length, 1), dtype=np.float32)  # a product sums rows faster than a sum
            part = seen @ value[:, start:end]
            part /= total
            out[start:end] = part.transpose(1, 0, 2)
        return out.reshape(tokens, width)


_TANH = tuple(map(np.float32, (
    0.7978842684068236, 0.03633414911997825, -3.302670267095299e-05, -5.5273386340260873e-05, 3.974070701946461e-06,
    -1.3378319488082185e-07, 1.813927151785064e-09,
)))  # fmt: skip
"""2·Φ(x) - 1 = tanh(x·p(x²)); p, lowest first, by least maximal error of x·Φ(x): 7e-8, before float32's rounding."""


def _gelu(x: Float32) -> Float32:
    """x·Φ(x) in place, as the models were trained. NumPy's tanh is vectorised; SciPy's error function is not."""
    square = np.multiply(x, x, out=_scratch("square", *x.shape))
    share = np.multiply(square, _TANH[-1], out=_scratch("share", *x.shape))
    for coefficient in _TANH[-2:0:-1]:
        share += coefficient
        share *= square
    share += _TANH[0]
    share *= x
    np.tanh(share, out=share)
    share += np.float32(1)
    share *= np.float32(0.5)
    x *= share
    return x


_own = threading.local()


def _scratch(name: str, *shape: int) -> Float32:
    """An array of this thread for one use, its content left over: asking the system for megabytes at each product costs
    as much as the products of a short text."""
    size = int(np.prod(shape))
    kept: dict[str, Float32] = _own.__dict__
    if name not in kept or kept[name].size < size:
        kept[name] = np.empty(size, dtype=np.float32)
    return kept[name][:size].reshape(shape)


def _normalise(x: Float32, gain: Float32, shift: Float32, epsilon: float) -> Float32:
    """Layer norm over the last axis, in place."""
    x -= x.mean(axis=-1, keepdims=True)
    variance = np.einsum("ij,ij->i", x, x) / np.float32(x.shape[-1])
    x *= (1 / np.sqrt(variance + np.float32(epsilon)))[:, None]
    x *= gain
    x += shift
    return x


def _batches(order: Sequence[int], ids: Sequence[Sequence[int]]) -> list[list[int]]:
    """Texts in groups of about BATCH_TOKENS tokens."""
    batches: list[list[int]] = []
    tokens = BATCH_TOKENS
    for i in order:
        if tokens + len(ids[i]) > BATCH_TOKENS:
            batches.append([])
            tokens = 0
        batches[-1].append(i)
        tokens += len(ids[i])
    return batches


def _head(text: str, limit: int) -> str:
    """The text up to the last ASCII space or line end within `limit` characters; all of it where there is none."""
    if len(text) <= limit:
        return text
    cut = max(text.rfind(" ", 0, limit), text.rfind("\n", 0, limit))
    return text[:cut] if cut > 0 else text


def _f32(tensor: NDArray[Any]) -> Float32:
    return np.ascontiguousarray(tensor, dtype=np.float32)
