"""`router.minilm`'s layers with products in bfloat16. Importing this module loads torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch.nn import functional

from router.minilm import Float32, Layer, Spans


@contextmanager
def one_thread_each() -> Iterator[Callable[[], None]]:
    """What a pool's threads have to call first; torch's own number of threads is restored at the end."""
    before = torch.get_num_threads()
    try:
        yield lambda: torch.set_num_threads(1)
    finally:
        torch.set_num_threads(before)


def bfloat16_layers(layers: Sequence[Layer]) -> list[Bfloat16Layer]:
    return [Bfloat16Layer(layer) for layer in layers]


class Bfloat16Layer:
    """Products, attention and GELU in bfloat16; sums along the layers and norms stay in float32."""

    def __init__(self, layer: Layer) -> None:
        self.heads = layer.heads
        self.qkv = _linear(layer.qkv, layer.qkv_bias)
        self.out = _linear(layer.out, layer.out_bias)
        self.up = _linear(layer.up, layer.up_bias)
        self.down = _linear(layer.down, layer.down_bias)
        self.norm1 = [torch.from_numpy(part) for part in layer.norm1]
        self.norm2 = [torch.from_numpy(part) for part in layer.norm2]

    @torch.inference_mode()
    def __call__(self, rows: Float32, spans: Spans, epsilon: float) -> Float32:
        x = torch.from_numpy(rows)
        tokens, width = x.shape
        mixed = functional.linear(x.bfloat16(), *self.qkv).view(tokens, 3, self.heads, -1)
        query, key, value = mixed.permute(1, 2, 0, 3)
        seen = torch.empty(tokens, self.heads, width // self.heads, dtype=torch.bfloat16)
        for start, end in spans:
            part = slice(start, end)
            # the queries are scaled already
            text = functional.scaled_dot_product_attention(
                query[None, :, part], key[None, :, part], value[None, :, part], scale=1.0
            )
            seen[part] = text[0].transpose(0, 1)
        attended = functional.linear(seen.view(tokens, width), *self.out).float() + x
        x = functional.layer_norm(attended, (width,), self.norm1[0], self.norm1[1], epsilon)
        wide = functional.gelu(functional.linear(x.bfloat16(), *self.up))
        narrow = functional.linear(wide, *self.down).float() + x
        result: Float32 = functional.layer_norm(narrow, (width,), self.norm2[0], self.norm2[1], epsilon).numpy()
        return result


def _linear(weight: Float32, bias: Float32) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(np.ascontiguousarray(weight.T)).bfloat16(), torch.from_numpy(bias).bfloat16()
