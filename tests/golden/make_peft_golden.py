#!/usr/bin/env python3
"""Golden files of LoRA's relatives: PEFT's results over the bases that make_golden.py made.

    python3 tests/golden/make_peft_golden.py [case ...]      # all of them without arguments

Needs what make_golden.py needs. Per case a folder tests/golden/peft/<case> with
  adapter/              the PEFT folder, nothing in it at its initial value
  golden.safetensors    logits of batch 0 and, for a part of the weights, grad.<name in the adapter's file>
  golden.json           base, loss, norms of all gradients, 20 training steps, norms of the merged weights
"""
import json
import shutil
import sys

import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file

from make_golden import (HERE, batches_of, gradients, load_model, logits_of, save, seeded, train, write_json)

CASES = {
    "dora": {"base": "qwen2", "config": {"use_dora": True, "target_modules": ["q_proj", "v_proj", "down_proj"]},
             "why": "magnitudes beside biases, and beside parts of one stacked weight"},
    "patterns": {"base": "qwen3", "config": {
        "use_rslora": True, "target_modules": ["q_proj", "k_proj", "o_proj", "up_proj"],
        # The first key that matches decides, and they are regular expressions.
        "rank_pattern": {r"layers\.1\..*[qk]_proj": 2, "q_proj": 3, "layers.1.mlp.up_proj": 1},
        "alpha_pattern": {"q_proj": 5, r"layers\.1\..*": 16, "self_attn.o_proj": 3},
        "exclude_modules": ["layers.0.self_attn.k_proj"]},
        "why": "expressions that overlap, rank-stabilised scaling, an excluded module"},
    "layers": {"base": "llama2", "config": {
        "target_modules": ["q_proj", "v_proj", "gate_proj"], "layers_to_transform": [1], "layers_pattern": "layers",
        "modules_to_save": ["norm", "lm_head"]},
        "why": "one layer of two; the final norm and the untied head train in full"},
    "embeddings": {"base": "llama2", "config": {"target_modules": ["embed_tokens", "q_proj"],
                                                "rank_pattern": {"embed_tokens": 2}},
                   "why": "a narrow table beside the embeddings of an untied model"},
    "expression": {"base": "mistral", "config": {"target_modules": r".*\.layers\.\d\.(self_attn\.(q|k)|mlp\.down)_proj"},
                   "why": "target_modules as one regular expression"},
}


def file_name(name):
    """The name of a trained weight in adapter_model.safetensors."""
    return name.removesuffix(".default").replace(".modules_to_save.default", "").replace(".default.weight", "" if "magnitude" in name else ".weight")


def adapted(case, is_trainable=True):
    base = load_model(HERE / CASES[case]["base"])
    return PeftModel.from_pretrained(base, HERE / "peft" / case / "adapter", is_trainable=is_trainable).eval()


def write_adapter(case):
    torch.manual_seed(20)
    base = load_model(HERE / CASES[case]["base"])
    base.name_or_path = CASES[case]["base"]
    config = LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM", **CASES[case]["config"])
    model = get_peft_model(base, config)
    for one in model.peft_config.values():
        one.base_model_name_or_path = CASES[case]["base"]
    generator = seeded(case, "adapter")
    for name, p in model.named_parameters():
        if p.requires_grad and "lora_A" not in name:
            with torch.no_grad():
                p.add_(0.1 * torch.randn(p.shape, generator=generator))
    adapter = HERE / "peft" / case / "adapter"
    shutil.rmtree(adapter, ignore_errors=True)
    model.save_pretrained(adapter)
    (adapter / "README.md").unlink(missing_ok=True)
    (adapter / "adapter_model.safetensors").chmod(0o644)
    path = adapter / "adapter_config.json"
    config = json.loads(path.read_text())
    if isinstance(config["target_modules"], list):
        config["target_modules"] = sorted(config["target_modules"])
    write_json(path, config)


def make(case):
    (HERE / "peft" / case).mkdir(parents=True, exist_ok=True)
    write_adapter(case)
    batches = batches_of(CASES[case]["base"])
    model = adapted(case)
    tensors = {"logits": logits_of(model, batches[0]).detach()}
    report = {"base": CASES[case]["base"], "why": CASES[case]["why"]}
    report["loss"], grads = gradients(model, batches[0])
    grads = {file_name(n): g for n, g in grads.items()}
    stored = set(load_file(HERE / "peft" / case / "adapter" / "adapter_model.safetensors"))
    # PEFT saves the embeddings themselves beside their adapter.
    assert stored - {"base_model.model.model.embed_tokens.base_layer.weight"} == set(grads), f"{case}: {sorted(stored ^ set(grads))}"
    report["grad_norms"] = {n: g.norm().item() for n, g in grads.items()}
    tensors.update({f"grad.{n}": g for n, g in grads.items() if g.numel() <= 256 and "embedding_A" not in n})
    run = train(model, batches)
    report["train"] = {"losses": run["losses"], "grad_norms": run["grad_norms"]}
    merged = adapted(case).merge_and_unload()
    report["merged_norms"] = {n: p.norm().item() for n, p in merged.named_parameters() if p.dim() == 2}
    difference = (logits_of(merged, batches[0]) - tensors["logits"]).abs().max().item()
    base = logits_of(load_model(HERE / CASES[case]["base"]), batches[0])
    assert (base - tensors["logits"]).abs().max() > 0.05, "the adapter changes nothing"
    save(tensors, HERE / "peft" / case / "golden.safetensors")
    write_json(HERE / "peft" / case / "golden.json", report)
    print(f"{case}: loss {report['loss']:.6f}, merged logits {difference:.1e} apart")


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for case in sys.argv[1:] or CASES:
        make(case)


if __name__ == "__main__":
    main()
