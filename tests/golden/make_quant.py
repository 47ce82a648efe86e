#!/usr/bin/env python3
"""Goldens of quantised weights: bitsandbytes' CPU backend on weights that a formula makes.

    python tests/golden/make_quant.py     writes tests/golden/quant/bitsandbytes.safetensors

Needs torch, bitsandbytes (0.50) and safetensors. The file has the tensors of Linear4bit and Linear8bitLt state dicts, and
for every weight the dense one that bitsandbytes makes of it again.
"""
import pathlib

import bitsandbytes.functional as bnb
import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).resolve().parent / "quant"


def weight(rows: int, columns: int, seed: int, dtype: torch.dtype) -> torch.Tensor:
    """Exact in every language: differences of 24-bit numbers of a congruential generator, a power of two a row."""
    state, values = seed, []
    for i in range(rows * columns):
        pair = []
        for _ in range(2):
            state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
            pair.append(state >> 40)
        values.append((pair[0] - pair[1]) * 2.0 ** (-27 - i // columns % 5))
    return torch.tensor(values, dtype=torch.float32).reshape(rows, columns).to(dtype)


def four_bit(out: dict, name: str, w: torch.Tensor, nested: bool) -> None:
    codes, state = bnb.quantize_4bit(w, quant_type="nf4", compress_statistics=nested)
    out[f"{name}.weight"] = codes
    for key, value in state.as_dict(packed=True).items():
        out[f"{name}.weight.{key}"] = value
    out[f"{name}.dense"] = bnb.dequantize_4bit(codes, state)


def eight_bit(out: dict, name: str, w: torch.Tensor) -> None:
    codes, scb, _ = bnb.int8_vectorwise_quant(w.to(torch.float16))  # as Int8Params does
    out[f"{name}.weight"], out[f"{name}.SCB"] = codes, scb
    out[f"{name}.dense"] = bnb.int8_vectorwise_dequant(codes, scb).to(w.dtype)


def main() -> None:
    out: dict = {}
    four_bit(out, "nested", weight(33, 520, 1, torch.bfloat16), True)  # 268 blocks and 8 elements, 2 nested blocks
    four_bit(out, "plain", weight(8, 64, 2, torch.float32), False)
    four_bit(out, "odd", weight(3, 33, 3, torch.float32), True)
    zeros = weight(4, 64, 4, torch.float32)
    zeros[1] = 0
    four_bit(out, "zeros", zeros, False)
    four_bit(out, "one", weight(1, 64, 5, torch.float32), True)  # its scale is the mean: nothing is left to store
    eight_bit(out, "int8", weight(9, 70, 6, torch.bfloat16))
    save_file({key: value.contiguous() for key, value in out.items()}, HERE / "bitsandbytes.safetensors")


if __name__ == "__main__":
    main()
