#!/usr/bin/env python3
"""Golden file of 8-bit AdamW: bitsandbytes' maps, its codes of given numbers, and steps of its optimizer.

    python3 tests/golden/make_optimizer_golden.py      # writes tests/golden/optimizer_8bit.json

Needs torch and bitsandbytes (0.50.2 made the committed file); no card. The steps are those of the optimizer update that
bitsandbytes has in plain PyTorch: the module stands beside Triton's kernels, whose import is satisfied by a stand-in.
Inputs are made by integer formulas that the test repeats. Floats are written as their 32 bits, in hexadecimal.
"""
import json
import pathlib
import sys
from unittest import mock

import bitsandbytes
import torch
from bitsandbytes import functional

with mock.patch.dict(sys.modules, {"triton": mock.MagicMock(), "triton.language": mock.MagicMock()}):
    from bitsandbytes.backends.triton import kernels_optim

ELEMENTS, STEPS = 4300, 12
LEARNING_RATE, BETA1, BETA2, EPSILON, WEIGHT_DECAY = 1e-2, 0.9, 0.999, 1e-8, 0.1


def uniform(count, seed):
    """Numbers of [-1, 1) with 16 bits: exact in fp32 wherever they are computed."""
    i = torch.arange(count, dtype=torch.int64)
    return (((i * 40503 + seed * 12289) * 2654435761 % 2**32) // 2**16).to(torch.float32) / 2**15 - 1


def spread(count, seed):
    """The same over six orders of magnitude, as gradients are."""
    power = torch.arange(count, dtype=torch.int64) * 7 % 20
    return uniform(count, seed) * 2.0 ** (-power.to(torch.float32))


def bits(tensor):
    return "".join(f"{value & 0xFFFFFFFF:08x}" for value in tensor.flatten().view(torch.int32).tolist())


def quantised(values, code):
    """What bitsandbytes codes and the scale of each block, by its implementation for any device."""
    codes, absmax = kernels_optim._quantize_blockwise_pytorch(values, code, 256)
    return {"codes": bytes(codes.flatten().tolist()).hex(), "absmax": bits(absmax)}


def steps(signed, unsigned):
    weight = uniform(ELEMENTS, 1)
    codes = [torch.zeros(ELEMENTS, dtype=torch.uint8) for _ in range(2)]
    absmax = [torch.zeros(-(-ELEMENTS // 256)) for _ in range(2)]
    for step in range(1, STEPS + 1):
        kernels_optim.optimizer_update_8bit_blockwise_pytorch(
            weight, spread(ELEMENTS, 100 + step), codes[0], codes[1], BETA1, BETA2, 0.0, 0.0, EPSILON, step,
            LEARNING_RATE, signed, unsigned, absmax[0], absmax[1], WEIGHT_DECAY, 1.0, False, optimizer_name="adam")
    return {"weight": bits(weight[::16]), "codes": [bytes(one.tolist()).hex() for one in codes],
            "absmax": [bits(one) for one in absmax]}


def main():
    torch.set_num_threads(1)
    signed, unsigned = functional.create_dynamic_map(signed=True), functional.create_dynamic_map(signed=False)
    values = spread(3 * 256, 3)
    golden = {"bitsandbytes": bitsandbytes.__version__, "torch": torch.__version__,
              "signed_map": bits(signed), "unsigned_map": bits(unsigned),
              "signed": quantised(values, signed), "unsigned": quantised(values.abs(), unsigned),
              "steps": steps(signed, unsigned)}
    path = pathlib.Path(__file__).resolve().parent / "optimizer_8bit.json"
    path.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
