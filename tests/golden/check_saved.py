#!/usr/bin/env python3
"""Loads what hone saved with transformers or PEFT and compares their logits with the ones hone wrote.

    python3 tests/golden/check_saved.py SAVED LOGITS.safetensors [--base FOLDER] [--tolerance 1e-4]

SAVED is a model folder, or an adapter folder (has adapter_config.json; then --base names the model folder), PEFT's or,
with adapter.safetensors, AdapterHub's (then its `adapters` and the transformers it asks for must be installed).
LOGITS.safetensors holds "ids" (N) integers, "logits" (N, V), and optionally "cu_seqlens" where N is several documents.
Prints what was loaded and the largest difference; exits with 1 above the tolerance, or where transformers reports
missing, unexpected or mismatched tensors.
"""
import argparse
import json
import pathlib
import sys

import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("saved", type=pathlib.Path)
    parser.add_argument("logits", type=pathlib.Path)
    parser.add_argument("--base", type=pathlib.Path)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    return parser.parse_args()


def load_model(folder):
    """The model in fp32; what transformers itself would only warn about is an error here."""
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager",
                                                       output_loading_info=True)
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if info.get(what):
            sys.exit(f"{folder}: {what}: {sorted(info[what])}")
    return model


def load_saved(saved, base):
    if not (saved / "adapter_config.json").exists():
        return load_model(saved), "transformers " + transformers.__version__
    if base is None:
        sys.exit(f"{saved} is an adapter: name its model with --base")
    if (saved / "adapter.safetensors").exists():
        import adapters
        model = load_model(base)
        adapters.init(model)
        model.load_adapter(str(saved), set_active=True, use_safetensors=True)
        return model, "adapters " + adapters.__version__
    import peft
    model = peft.PeftModel.from_pretrained(load_model(base), saved)
    loaded = set(peft.get_peft_model_state_dict(model, save_embedding_layers=False))
    stored = {name for name in load_file(saved / "adapter_model.safetensors") if not name.startswith("prompt_encoder.")}
    if loaded != stored:
        sys.exit(f"{saved}: PEFT has {sorted(loaded - stored)} the file has not, the file {sorted(stored - loaded)}")
    return model, "PEFT " + peft.__version__


def main():
    args = arguments()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    model, reader = load_saved(args.saved, args.base)
    theirs = load_file(args.logits)
    ids, logits = theirs["ids"].flatten().long(), theirs["logits"].float()
    bounds = theirs["cu_seqlens"].tolist() if "cu_seqlens" in theirs else [0, len(ids)]
    with torch.no_grad():
        # Virtual tokens come first and have logits of their own.
        ours = torch.cat([model.eval()(input_ids=ids[None, a:b], use_cache=False).logits[0, a - b:].float()
                          for a, b in zip(bounds, bounds[1:])])
    if ours.shape != logits.shape:
        sys.exit(f"{args.logits}: logits are {tuple(logits.shape)}, {reader} gives {tuple(ours.shape)}")
    difference = (ours - logits).abs().max().item()
    agree = difference <= args.tolerance  # false for NaN
    print(json.dumps({"saved": str(args.saved), "reader": reader, "parameters": sum(p.numel() for p in model.parameters()),
                      "tokens": len(ids), "largest_logit": ours.abs().max().item(), "max_abs_difference": difference,
                      "tolerance": args.tolerance, "agree": agree}))
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
