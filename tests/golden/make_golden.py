#!/usr/bin/env python3
"""Golden files: tiny random models of every family, run by transformers and PEFT.

    python3 tests/golden/make_golden.py [family ...]      # all of them without arguments

Needs torch (CPU is enough), transformers, peft, safetensors; the versions used stand in every golden.json. A second run
on the same machine writes the same bytes (one thread, fixed seeds, no timestamps); another CPU may differ in the last
digits of the results, never in the inputs.

Per family a folder with
  config.json, model.safetensors   the Hugging Face folder itself (fp32); config.json is written by hand, because the
                                   spellings that checkpoints in the wild use are part of what is tested
  adapter/                         a PEFT LoRA folder whose lora_B is NOT zero, so that the gradients of A and B both flow
  golden.safetensors               batch<k>.{input_ids,targets,cu_seqlens} (I32), k = 0..3; all else belongs to batch 0:
                                   logits (N, V), logits_fp64, lora.logits, grad.<parameter>, lora.grad.<PEFT key>,
                                   lora.merged.<parameter>
  golden.json                      losses, token counts, 20 training steps in three ways, greedy ids, fp64 references

Documents of a batch are run one by one, so no padding is involved. The loss is the mean over the supervised tokens of
all documents; targets are already shifted (targets[i] is the token after input_ids[i]) and -100 is not supervised.
Training step s uses batch s % 4; its loss and gradient norm (before clipping) are those before its update.

The fp64 references are the same modules in double, with the three places where transformers goes through fp32 inside
(norms, softmax) lifted to double; cos and sin stay the fp32 values transformers computes, because every engine that
wants parity must use those.
"""
import json
import math
import pathlib
import shutil
import sys

import peft
import safetensors
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

HERE = pathlib.Path(__file__).resolve().parent
VOCAB = 96
DOCUMENTS = [[7, 12, 1], [5, 9, 3], [12, 2, 6], [1, 8, 11]]  # lengths, batch by batch
STEPS = 20
OPTIMIZER = {"learning_rate": 1e-3, "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8,
             "weight_decay": 0.1, "max_grad_norm": 1.0, "lr_scheduler": "constant",
             "clip": "gradients *= min(1, max_grad_norm / (norm + 1e-6))"}

COMMON = {"hidden_act": "silu", "vocab_size": VOCAB, "num_hidden_layers": 2, "bos_token_id": 1,
          "eos_token_id": 2, "initializer_range": 0.02, "use_cache": True}

# What each family is there for stands in "why"; the rest is config.json to the letter.
FAMILIES = {
    "llama2": {
        "why": "as many key/value heads as heads, untied, no optional key; LoRA on q_proj and v_proj only",
        "targets": ["q_proj", "v_proj"],
        "config": {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32,
                   "intermediate_size": 56, "num_attention_heads": 4, "max_position_embeddings": 64,
                   "rms_norm_eps": 1e-5, "tie_word_embeddings": False}},
    "llama3.1": {
        "why": "grouped heads, rope_scaling of type llama3 with a frequency in each of its three bands, tied",
        "config": {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32,
                   "intermediate_size": 56, "num_attention_heads": 4, "num_key_value_heads": 2,
                   "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
                   "rope_scaling": {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                                    "original_max_position_embeddings": 64, "rope_type": "llama3"},
                   "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": True}},
    "llama3.2": {
        "why": "rope_parameters, the newer spelling, with head_dim given; one key/value head; tied",
        "config": {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32,
                   "intermediate_size": 60, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 8,
                   "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
                   "rope_parameters": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                                       "original_max_position_embeddings": 80, "rope_theta": 5000.0,
                                       "rope_type": "llama3"},
                   "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": True}},
    "mistral": {
        "why": "a sliding window of 5 under documents of up to 12 tokens, grouped heads, untied",
        "config": {"architectures": ["MistralForCausalLM"], "model_type": "mistral", "hidden_size": 32,
                   "intermediate_size": 56, "num_attention_heads": 4, "num_key_value_heads": 2,
                   "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "sliding_window": 5,
                   "tie_word_embeddings": False}},
    "smollm2": {
        "why": "the Llama class with three query heads a key/value head of 6 channels, a large rope_theta, tied",
        "config": {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 36,
                   "intermediate_size": 50, "num_attention_heads": 6, "num_key_value_heads": 2,
                   "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_scaling": None, "rope_theta": 100000.0,
                   "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": True}},
    "qwen2": {
        "why": "biases on q, k and v that no config key announces; a window that use_sliding_window turns off; tied",
        "config": {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 32,
                   "intermediate_size": 56, "num_attention_heads": 4, "num_key_value_heads": 2,
                   "max_position_embeddings": 64, "max_window_layers": 2, "rms_norm_eps": 1e-6,
                   "rope_theta": 1000000.0, "sliding_window": 4, "use_sliding_window": False,
                   "tie_word_embeddings": True}},
    "qwen3": {
        "why": "q and k norms, a head_dim with heads * head_dim != hidden_size, untied",
        "config": {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 40,
                   "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
                   "max_position_embeddings": 64, "max_window_layers": 2, "rms_norm_eps": 1e-6,
                   "rope_theta": 1000000.0, "rope_scaling": None, "attention_bias": False, "sliding_window": None,
                   "use_sliding_window": False, "tie_word_embeddings": False}},
}


def seeded(family, salt):
    """A generator of its own for every (family, use), so that one use can change without moving the others."""
    name = f"{family}/{salt}".encode()
    return torch.Generator().manual_seed(sum(b * 31**i for i, b in enumerate(name)) % (2**31))


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n")


def save(tensors, path):
    save_file({n: t.contiguous() for n, t in tensors.items()}, path, metadata={"format": "pt"})
    path.chmod(0o644)  # the writer leaves it to the owner alone


# --- the model -------------------------------------------------------------------------------------------------------

def random_weights(model, family):
    """Weights large enough that attention, gates and logits are far from uniform; norms around 1, biases not 0."""
    generator = seeded(family, "weights")
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=generator)
        with torch.no_grad():
            if "norm" in name:
                p.copy_(1 + 0.2 * noise)
            elif name.endswith(".bias"):
                p.copy_(0.3 * noise)
            elif "embed_tokens" in name:
                p.copy_(0.15 * noise)
            else:
                gain = 1.6 if ("q_proj" in name or "k_proj" in name) else 0.8
                p.copy_(gain * noise / math.sqrt(p.shape[1]))


def write_model(folder, family):
    config = {**FAMILIES[family]["config"], **COMMON}
    config["dtype" if "rope_parameters" in config else "torch_dtype"] = "float32"  # the key was renamed with that one
    write_json(folder / "config.json", config)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), attn_implementation="eager")
    random_weights(model.float(), family)
    tied = model.config.tie_word_embeddings
    weights = {n: t for n, t in model.state_dict().items() if not (tied and n == "lm_head.weight")}
    save(weights, folder / "model.safetensors")


def load_model(folder, dtype=torch.float32):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    return model.to(dtype).eval()


def batches_of(family):
    generator = seeded(family, "batches")
    batches = []
    for lengths in DOCUMENTS:
        documents = []
        for length in lengths:
            text = torch.randint(3, VOCAB, (length + 1,), generator=generator)
            ids, targets = text[:-1].clone(), text[1:].clone()
            if length >= 5:
                targets[: length // 3] = -100  # a prompt
                targets[length - 2] = -100  # and a hole
            documents.append((ids, targets))
        batches.append(documents)
    return batches


# --- what is measured ------------------------------------------------------------------------------------------------

def logits_of(model, documents):
    return torch.cat([model(input_ids=ids[None], use_cache=False).logits[0] for ids, _ in documents])  # (N, V)


def loss_of(model, documents):
    targets = torch.cat([t for _, t in documents])
    logits = logits_of(model, documents)
    total = torch.nn.functional.cross_entropy(logits, targets, ignore_index=-100, reduction="sum")
    return total / int((targets != -100).sum())


def trainable(model):
    return {n: p for n, p in model.named_parameters() if p.requires_grad}


def gradients(model, documents):
    model.zero_grad(set_to_none=True)
    loss = loss_of(model, documents)
    loss.backward()
    return loss.item(), {n: p.grad.clone() for n, p in trainable(model).items()}


def adamw(model, decay_matrices_only):
    parameters = trainable(model)
    settings = dict(lr=OPTIMIZER["learning_rate"], betas=(OPTIMIZER["adam_beta1"], OPTIMIZER["adam_beta2"]),
                    eps=OPTIMIZER["adam_epsilon"], foreach=False)
    if not decay_matrices_only:
        return torch.optim.AdamW(parameters.values(), weight_decay=OPTIMIZER["weight_decay"], **settings)
    decayed = [p for p in parameters.values() if p.dim() >= 2]
    plain = [p for p in parameters.values() if p.dim() < 2]
    return torch.optim.AdamW([{"params": decayed, "weight_decay": OPTIMIZER["weight_decay"]},
                              {"params": plain, "weight_decay": 0.0}], **settings)


def train(model, batches, decay_matrices_only=False):
    optimizer = adamw(model, decay_matrices_only)
    losses, norms = [], []
    for step in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(model, batches[step % len(batches)])
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(trainable(model).values(), OPTIMIZER["max_grad_norm"]).item())
        optimizer.step()
        losses.append(loss.item())
    last = {n: p.detach().double().norm().item() for n, p in trainable(model).items()}
    return {"losses": losses, "grad_norms": norms, "final_parameter_norms": last}


def greedy(model, prompt, count):
    """Argmax continuation without a cache, and the smallest gap between the two best logits on the way."""
    ids, gap = prompt.clone(), math.inf
    for _ in range(count):
        best = model(input_ids=ids[None], use_cache=False).logits[0, -1].topk(2)
        gap = min(gap, (best.values[0] - best.values[1]).item())
        ids = torch.cat([ids, best.indices[:1]])
    return {"prompt": prompt.tolist(), "continuation": ids[len(prompt):].tolist(), "smallest_gap": gap}


# --- LoRA ------------------------------------------------------------------------------------------------------------

def lora_config(family):
    return LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM",
                      target_modules=FAMILIES[family].get("targets", "all-linear"))


def write_adapter(folder, family):
    torch.manual_seed(20)
    base = load_model(folder)
    base.name_or_path = family  # not a path of this machine
    model = get_peft_model(base, lora_config(family))
    for config in model.peft_config.values():
        config.base_model_name_or_path = family
    generator = seeded(family, "adapter")
    for name, p in trainable(model).items():
        if "lora_B" in name:
            with torch.no_grad():
                p.copy_(0.1 * torch.randn(p.shape, generator=generator))
    adapter = folder / "adapter"
    shutil.rmtree(adapter, ignore_errors=True)
    model.save_pretrained(adapter)
    (adapter / "README.md").unlink(missing_ok=True)
    (adapter / "adapter_model.safetensors").chmod(0o644)
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["target_modules"] = sorted(config["target_modules"])  # a Python set: its order changes from run to run
    write_json(adapter / "adapter_config.json", config)


def load_adapter(folder, dtype=torch.float32):
    return PeftModel.from_pretrained(load_model(folder), folder / "adapter", is_trainable=True).to(dtype).eval()


def peft_key(name):
    """The name of an adapter tensor in adapter_model.safetensors."""
    return name.replace(".default.", ".")


# --- fp64 ------------------------------------------------------------------------------------------------------------

def eager_attention_double(module, query, key, value, attention_mask, scaling, dropout=0.0, **_):
    groups = module.num_key_value_groups
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(-1)
    return (weights @ value).transpose(1, 2).contiguous(), weights


def norm_double(self, x):
    return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))


class exact_arithmetic:
    """While entered, the family's norm and attention compute in the dtype they are given."""

    def __init__(self, model):
        self.module = sys.modules[type(model).__module__]
        self.norm = type(model.model.norm)

    def __enter__(self):
        self.kept = (self.module.eager_attention_forward, self.norm.forward)
        self.module.eager_attention_forward, self.norm.forward = eager_attention_double, norm_double

    def __exit__(self, *_):
        self.module.eager_attention_forward, self.norm.forward = self.kept


def distance(a, b):
    """Norm of the difference, relative to the norm of `b`."""
    return ((a.double() - b).norm() / b.norm()).item()


# --- checks that the goldens test what they are there for --------------------------------------------------------------

def check_family(folder, family, model, documents):
    ids = documents[1][0]
    window = model.config.sliding_window if family == "mistral" else len(ids)
    for layer in model(input_ids=ids[None], use_cache=False, output_attentions=True).attentions:
        q, k = torch.meshgrid(torch.arange(len(ids)), torch.arange(len(ids)), indexing="ij")
        assert bool(((layer[0] > 0) == ((k <= q) & (k > q - window))).all()), f"{family}: not the mask expected"
    if family.startswith("llama3"):
        config = model.config.rope_parameters
        dim = model.config.head_dim
        plain = 1.0 / config["rope_theta"] ** (torch.arange(0, dim, 2).double() / dim)
        ratio = plain / model.model.rotary_emb.inv_freq.double()
        kept, divided = (ratio - 1).abs() < 1e-6, (ratio - config["factor"]).abs() < 1e-4
        assert kept.any() and divided.any() and (~kept & ~divided).any(), f"{family}: not all bands: {ratio}"
    if family == "qwen3":
        assert model.config.num_attention_heads * model.config.head_dim != model.config.hidden_size
    if family == "qwen2":
        assert model.model.layers[0].self_attn.q_proj.bias.abs().min() > 0
    raw = json.loads((folder / "config.json").read_text())
    theta = (raw.get("rope_parameters") or raw).get("rope_theta", 10000.0)
    assert model.config.rope_parameters["rope_theta"] == theta, f"{family}: rope_theta was not read"


# --- one family ------------------------------------------------------------------------------------------------------

def full_model(folder, family, batches, tensors, report):
    model, exact = load_model(folder), load_model(folder, torch.float64)
    check_family(folder, family, model, batches[0])
    tensors["logits"] = logits_of(model, batches[0]).detach()
    report["loss"], grads = gradients(model, batches[0])
    tensors.update({f"grad.{n}": g for n, g in grads.items()})
    with exact_arithmetic(exact), torch.no_grad():
        tensors["logits_fp64"] = logits_of(exact, batches[0])
    with exact_arithmetic(exact):
        report["loss_fp64"], grads64 = gradients(exact, batches[0])
        report["full_fp64"] = train(exact, batches)
    with torch.no_grad():
        report["greedy"] = greedy(model, batches[0][1][0][:4], 24)
    report["noise"] = {"logits_max_abs": (tensors["logits"].double() - tensors["logits_fp64"]).abs().max().item(),
                       "logits_largest": tensors["logits_fp64"].abs().max().item(),
                       "grad_relative": max(distance(grads[n], grads64[n]) for n in grads)}
    report["grad_norms_fp64"] = {n: g.norm().item() for n, g in grads64.items()}
    report["full"] = train(model, batches)
    report["full_decay_matrices_only"] = train(load_model(folder), batches, decay_matrices_only=True)


def lora_model(folder, family, batches, tensors, report):
    write_adapter(folder, family)
    model, exact = load_adapter(folder), load_adapter(folder, torch.float64)
    lora = report["lora"] = {"r": 4, "lora_alpha": 8}
    tensors["lora.logits"] = logits_of(model, batches[0]).detach()
    lora["loss"], grads = gradients(model, batches[0])
    tensors.update({f"lora.grad.{peft_key(n)}": g for n, g in grads.items()})
    with exact_arithmetic(exact.get_base_model()):
        lora["loss_fp64"], grads64 = gradients(exact, batches[0])
        lora["grad_relative_noise"] = max(distance(grads[n], grads64[n]) for n in grads)
        lora["train_fp64"] = train(exact, batches)
    lora["train"] = train(model, batches)
    for run in (lora["train"], lora["train_fp64"]):
        run["final_parameter_norms"] = {peft_key(n): v for n, v in run["final_parameter_norms"].items()}
    merged = load_adapter(folder).merge_and_unload()
    name = "model.layers.1.self_attn.v_proj.weight"
    tensors[f"lora.merged.{name}"] = merged.get_parameter(name).detach().clone()
    lora["merged_logits_max_abs"] = (logits_of(merged, batches[0]) - tensors["lora.logits"]).abs().max().item()
    assert (tensors["lora.logits"] - tensors["logits"]).abs().max() > 0.05, "the adapter changes nothing"


def make(family):
    folder = HERE / family
    folder.mkdir(exist_ok=True)
    write_model(folder, family)
    batches = batches_of(family)
    tensors = {}
    for k, documents in enumerate(batches):
        tensors[f"batch{k}.input_ids"] = torch.cat([i for i, _ in documents]).int()
        tensors[f"batch{k}.targets"] = torch.cat([t for _, t in documents]).int()
        tensors[f"batch{k}.cu_seqlens"] = torch.tensor([0, *[len(i) for i, _ in documents]]).cumsum(0).int()
    report = {"family": family, "why": FAMILIES[family]["why"],
              "made_with": {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__,
                            "peft": peft.__version__, "safetensors": safetensors.__version__},
              "documents": DOCUMENTS, "tokens": [int((torch.cat([t for _, t in b]) != -100).sum()) for b in batches],
              "optimizer": OPTIMIZER}
    full_model(folder, family, batches, tensors, report)
    lora_model(folder, family, batches, tensors, report)
    save(tensors, folder / "golden.safetensors")
    write_json(folder / "golden.json", report)
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    worst = max(abs(a - b) / b for run in (("full", "full_fp64"),)
                for a, b in zip(report[run[0]]["losses"], report[run[1]]["losses"]))
    print(f"{family}: loss {report['loss']:.6f} (fp64 {report['loss_fp64']:.6f}), lora {report['lora']['loss']:.6f}, "
          f"after {STEPS} steps {report['full']['losses'][-1]:.4f}, fp32 noise: logits {report['noise']['logits_max_abs']:.1e} "
          f"gradients {report['noise']['grad_relative']:.1e} losses {worst:.1e}; {size} bytes")


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for family in sys.argv[1:] or FAMILIES:
        make(family)


if __name__ == "__main__":
    main()
