#!/usr/bin/env python3
"""Goldens of the methods beside LoRA: PEFT's IA3, prompt and prefix tuning, and AdapterHub's bottleneck adapters.

    python3 tests/golden/make_methods_golden.py [method ...]      # those the installed libraries have, without arguments

IA3, prompt and prefix tuning need what make_golden.py needs. Bottlenecks need AdapterHub's `adapters` and the version of
transformers that it asks for (an environment of its own: adapters 1.3.0 with transformers 4.57.6 made these).

Base and batches are those of tests/golden/<family>, trained as make_golden.py trains them. Per method a folder with
  adapter_config.json, adapter_model.safetensors   PEFT's folder, or adapter.safetensors in AdapterHub's format
  golden.safetensors                               logits of batch 0 (its tokens alone), grad.<name>, and start.<name>
                                                   where the folder does not hold what was trained
  golden.json                                      versions, loss, 20 steps
All values are random: nothing begins as the identity, so that every gradient flows.
"""
import json
import pathlib
import shutil
import sys

import torch
import transformers

import make_golden
from make_golden import batches_of, load_model, save, seeded, trainable, write_json

OUT = make_golden.HERE / "methods"


def peft_method(config, family):
    import peft

    def build():
        base = load_model(make_golden.HERE / family)
        base.name_or_path = family
        torch.manual_seed(5)
        return peft.get_peft_model(base, config()).eval()

    return build


def bottleneck_method(config, family):
    def build():
        import adapters

        base = load_model(make_golden.HERE / family)
        adapters.init(base)
        torch.manual_seed(5)
        base.add_adapter("hone", config=config())
        base.train_adapter("hone")
        return base.eval()

    return build


def ia3():
    from peft import IA3Config
    return IA3Config(task_type="CAUSAL_LM")


def prompt():
    from peft import PromptTuningConfig
    return PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)


def prefix(projection, hidden=None):
    def config():
        from peft import PrefixTuningConfig
        return PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3, prefix_projection=projection,
                                  encoder_hidden_size=hidden)
    return config


def houlsby():
    from adapters import DoubleSeqBnConfig
    return DoubleSeqBnConfig(reduction_factor=8)


def pfeiffer():
    from adapters import SeqBnConfig
    return SeqBnConfig(reduction_factor=8, non_linearity="gelu")


def parallel():
    from adapters import ParBnConfig
    return ParBnConfig(reduction_factor=8)


METHODS = {
    "ia3": (peft_method, ia3, "qwen2"),  # with biases on k and v, which are scaled as well
    "prompt": (peft_method, prompt, "llama3.1"),
    "prefix": (peft_method, prefix(False), "llama3.1"),
    "prefix-projection": (peft_method, prefix(True, 5), "llama3.1"),
    "houlsby": (bottleneck_method, houlsby, "llama2"),
    "pfeiffer": (bottleneck_method, pfeiffer, "llama2"),
    "parallel": (bottleneck_method, parallel, "llama2"),
}


def short(name):
    """The name of a parameter in the files."""
    return name.replace("prompt_encoder.default.", "prompt_encoder.").replace(".default", "").replace(".hone.", ".")


def logits_of(model, documents):
    """Of a document's own tokens, also where virtual ones stand before them."""
    return torch.cat([model(input_ids=ids[None], use_cache=False).logits[0, -len(ids):] for ids, _ in documents])


def randomise(model, name):
    generator = seeded("methods", name)
    for n, p in trainable(model).items():
        noise = torch.randn(p.shape, generator=generator)
        with torch.no_grad():
            if "ia3" in n:
                p.copy_(1 + 0.4 * noise)
            elif "adapter" in n:
                p.copy_(0.3 * noise)
            elif "prompt_encoder" in n:
                p.copy_((0.15 if name == "prompt" else 0.7) * noise)


def write_folder(model, folder, family):
    if hasattr(model, "peft_config"):
        model.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)
        config = json.loads((folder / "adapter_config.json").read_text())
        for key in ("target_modules", "feedforward_modules"):
            if key in config:
                config[key] = sorted(config[key])
        config["base_model_name_or_path"] = family
        write_json(folder / "adapter_config.json", config)
        (folder / "adapter_model.safetensors").chmod(0o644)
        return
    model.save_adapter(str(folder), "hone", use_safetensors=True)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["model_name"] = family
    write_json(folder / "adapter_config.json", config)
    (folder / "adapter.safetensors").chmod(0o644)
    for file in folder.iterdir():
        if file.name not in ("adapter_config.json", "adapter.safetensors"):
            file.unlink()


def make(name):
    kind, config, family = METHODS[name]
    build = kind(config, family)
    make_golden.logits_of = logits_of
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    batches = batches_of(family)
    model = build()
    randomise(model, name)
    write_folder(model, folder, family)
    start = {n: p.detach().clone() for n, p in trainable(model).items()}
    tensors = {"logits": logits_of(model, batches[0]).detach()}
    report = {"method": name, "family": family,
              "made_with": {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__}}
    plain = logits_of(load_model(make_golden.HERE / family), batches[0])
    assert (tensors["logits"] - plain).abs().max() > 0.05, f"{name} changes nothing"
    report["loss"], grads = make_golden.gradients(model, batches[0])
    tensors.update({f"grad.{short(n)}": g for n, g in grads.items()})
    if name == "prefix-projection":
        tensors.update({f"start.{short(n)}": p for n, p in start.items()})
    report["train"] = make_golden.train(model, batches)
    del report["train"]["final_parameter_norms"]
    assert report["train"]["losses"][-1] != report["train"]["losses"][0]
    library = sys.modules["peft" if hasattr(model, "peft_config") else "adapters"]
    report["made_with"][library.__name__] = library.__version__
    save(tensors, folder / "golden.safetensors")
    write_json(folder / "golden.json", report)
    print(f"{name}: loss {report['loss']:.6f}, {len(grads)} gradients, "
          f"{sum(f.stat().st_size for f in folder.iterdir())} bytes")


def installed(name):
    try:
        __import__("adapters" if METHODS[name][0] is bottleneck_method else "peft")
        return True
    except ImportError:
        return False


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for method in sys.argv[1:] or [m for m in METHODS if installed(m)]:
        make(method)
