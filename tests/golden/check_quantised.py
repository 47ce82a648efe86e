#!/usr/bin/env python3
"""Loads what `hone quantize` wrote with transformers and bitsandbytes, and back.

    python3 tests/golden/check_quantised.py QUANTISED LOGITS.safetensors [--base FOLDER] [--tolerance 0.3]

QUANTISED is the folder; LOGITS.safetensors is what tests/golden/dump_logits.cpp wrote for it ("ids" (N), "logits"
(N, V)). transformers must load the folder as it is and give those logits: of NF4 within the tolerance (bitsandbytes
computes in bf16 there, and on a processor wants rows of at least 64), of int8 within 2 % of the largest, for
bitsandbytes rounds activations to int8 too. With --base, transformers quantises that folder
itself, and every code and scale must be equal (the mean that double quantisation takes off to the last bit or two).
Exits with 1 where something differs.
"""
import argparse
import pathlib
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("quantised", type=pathlib.Path)
    parser.add_argument("logits", type=pathlib.Path)
    parser.add_argument("--base", type=pathlib.Path)
    parser.add_argument("--tolerance", type=float, default=0.3)
    return parser.parse_args()


def load(folder, **more):
    # In training mode: what bitsandbytes does on a processor in evaluation needs rows of whole blocks of 64.
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager",
                                                device_map="cpu", **more).train()


def compare_states(ours, theirs):
    """The largest share of codes that differ in one tensor; scales are compared as numbers."""
    worst = 0.0
    ours, theirs = ours.state_dict(), theirs.state_dict()
    for name in sorted(theirs):
        if "quant_state" in name or "weight_format" in name:
            continue
        a, b = ours[name], theirs[name]
        if a.shape != b.shape or a.dtype != b.dtype:
            sys.exit(f"{name}: {a.dtype} {tuple(a.shape)} against {b.dtype} {tuple(b.shape)}")
        if a.dtype.is_floating_point:
            if not torch.allclose(a, b, rtol=2e-6, atol=0):
                sys.exit(f"{name}: differs by {(a - b).abs().max().item()}")
        else:
            worst = max(worst, (a != b).float().mean().item())
    return worst


def main():
    options = arguments()
    given = load_file(options.logits)
    model = load(options.quantised)
    kinds = {type(module).__name__ for module in model.modules() if "bit" in type(module).__name__.lower()}
    with torch.no_grad():
        logits = model(given["ids"].long().reshape(1, -1)).logits[0].float()
    difference = (logits - given["logits"]).abs().max().item()
    eight = any("8bit" in kind for kind in kinds)
    bound = 0.02 * given["logits"].abs().max().item() if eight else options.tolerance
    print(f"{options.quantised}: {', '.join(sorted(kinds))}; logits differ by at most {difference:.3g}, {bound:.3g} allowed")
    if options.base:
        config = model.config.quantization_config
        config = config if isinstance(config, BitsAndBytesConfig) else BitsAndBytesConfig(**config)
        share = compare_states(model, load(options.base, quantization_config=config))
        print(f"codes that differ from transformers' own: {share:.2%}")
        if share > 0.001:
            sys.exit(1)
    sys.exit(1 if difference > bound else 0)


if __name__ == "__main__":
    main()
