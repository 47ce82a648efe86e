"""`hone plan`: what it says is checked against itself, against arithmetic and against real runs."""
import html.parser
import json
import re
import shutil
import subprocess
import sys
import time

from harness import ROOT, TINY, Cli

GIB = 1 << 30
PHASES = ["load", "train", "evaluate", "save", "generate"]


def plan(cli: Cli, model, *more) -> dict:
    return json.loads(cli.good("plan", "--model", model, "--json", *more))


def named_models(cli: Cli) -> None:
    """Exact counts of the base, adapters apart; no weights, no toolkit, no card; 405B in under two seconds."""
    for name, parameters in [("llama-2-7b", 6_738_415_616), ("llama-3.1-8b", 8_030_261_248), ("qwen2.5-0.5b", 494_032_768),
                             ("Qwen/Qwen2.5-7B-Instruct", 7_615_616_512), ("smollm2-135m", 134_515_008)]:
        assert plan(cli, name)["parameters"] == parameters, name
    start = time.monotonic()
    largest = plan(cli, "llama-3.1-405b", "--method", "full")
    assert time.monotonic() - start < 2
    assert largest["parameters"] == largest["trainable_parameters"] == 405_853_388_800
    lora = plan(cli, "llama-3.1-8b", "--lora_r", 16)
    assert (lora["parameters"], lora["trainable_parameters"]) == (8_030_261_248, 41_943_040)
    assert lora["adapter_parameters"] == lora["trainable_parameters"]


def counted_models(cli: Cli) -> None:
    """LoRA's counts that articles quote."""
    for name, r, count in [("roberta-base", 8, 294_912), ("gpt-3-175b", 1, 4_718_592)]:
        out = plan(cli, name, "--lora_r", r, "--target_modules", "q_proj,v_proj")
        assert out["trainable_parameters"] == count, out
    assert "4,718,592" in cli.good("plan", "--model", "gpt-3-175b", "--lora_r", 1, "--target_modules", "q_proj,v_proj")


def consistent(cli: Cli) -> None:
    """Categories sum to peaks, the run's peak is its worst phase, buffers are of that phase."""
    for flags in (["--method", "full"], ["--gradient_checkpointing", "full"], ["--gpu", "RTX 4090", "--method", "lora"]):
        out = plan(cli, "qwen3-0.6b", *flags)
        assert list(out["phases"]) == sorted(PHASES), out["phases"].keys()
        for name, phase in out["phases"].items():
            assert sum(phase["categories"].values()) - phase["categories"].get("host", 0) == phase["peak_bytes"], name
        assert sum(out["categories"].values()) == out["peak_bytes"]
        assert out["peak_bytes"] == max(phase["peak_bytes"] for name, phase in out["phases"].items() if name != "generate")
        assert out["peak_bytes"] <= out["reserved_bytes"] <= 1.03 * out["peak_bytes"]
        assert sum(one["bytes"] for one in out["buffers"]) + out["other_buffers"]["bytes"] == out["peak_bytes"]
        assert len(out["buffers"]) == 10 and out["flops_per_step"] > 6 * out["trainable_parameters"]


def planned_is_actual(cli: Cli) -> None:
    """What `hone plan` says with the rows' lengths is what the run says it used; --dry_run prints the same."""
    run = [argument for argument in cli.train("run", "--eval_data", cli.rows(8), "--gradient_checkpointing", "selective")]
    planned = json.loads(cli.good("plan", *run[1:], "--json"))["peak_bytes"]
    assert f"{planned:,}" in cli.good(*run, "--dry_run") and not (cli.folder / "run").exists()
    assert f"planned {planned} B, actual {planned} B, difference 0 B" in cli.good(*run)
    cli.good(*run, "--overwrite_output_dir", "--vram_budget", planned)
    refused = cli.run(*run, "--overwrite_output_dir", "--vram_budget", planned - 1)
    assert refused.returncode == 1
    for words in (f"{planned} B", "activations", "the largest", "any one of these fits"):
        assert words in refused.stderr, refused.stderr
    # Every setting that the refusal offers really fits.
    for key, value in re.findall(r"(batch_size|gradient_checkpointing|max_length|loss_chunk) (\w+) \(", refused.stderr):
        cli.good(*run, "--overwrite_output_dir", "--vram_budget", planned - 1, f"--{key}", value, "--dry_run")


def automatic(cli: Cli) -> None:
    """`auto` fills a budget: more memory, more rows; too little is an error."""
    def batch(budget: int) -> int:
        out = cli.good(*cli.train("auto", "--batch_size", "auto", "--gradient_checkpointing", "auto", "--vram_budget", budget,
                                  "--overwrite_output_dir", "--max_steps", 1))
        return int(re.search(r"auto: batch_size (\d+)", out).group(1))
    small, large = batch(36 << 20), batch(400 << 20)
    assert 1 <= small < large <= 32, (small, large)
    cli.bad(*cli.train("auto", "--batch_size", "auto", "--vram_budget", 1 << 20), says=["auto", "leanest"])
    packed = ["--packing", "--batch_size", "auto", "--overwrite_output_dir", "--max_steps", 1]
    for budget in (30 << 20, 60 << 20, 100 << 20):  # a packed batch is full, however short its rows
        cli.good(*cli.train("auto", *packed, "--vram_budget", budget))
    cli.good(*cli.train("auto", "--batch_size", "auto", "--overwrite_output_dir", "--max_steps", 1))  # the system's free memory


def rows_and_budgets(cli: Cli) -> None:
    """A budget that the real rows fit is met as wanted; less is met by less; the rows decide, not max_length."""
    run = [argument for argument in cli.train("run")][1:]
    exact = json.loads(cli.good("plan", *run, "--json"))
    assert exact["peak_bytes"] < plan(cli, TINY, "--max_length", 256, "--batch_size", 4)["peak_bytes"]
    met = json.loads(cli.good("plan", *run, "--json", "--budget", exact["reserved_bytes"], "--method", "lora"))
    assert met["trades"] == [] and met["peak_bytes"] == exact["peak_bytes"]
    less = json.loads(cli.good("plan", *[part for part in run if part not in ("--batch_size", 4)], "--json", "--method", "lora",
                               "--budget", exact["reserved_bytes"] - 1))
    assert less["trades"] and less["reserved_bytes"] < exact["reserved_bytes"]
    refused = cli.run("train", *run, "--dry_run", "--vram_budget", exact["peak_bytes"] - 1)
    assert refused.returncode == 1 and "vram_budget" in refused.stderr
    cost = json.loads(cli.good("plan", *run, "--json", "--tokens_per_second", 1000, "--price_per_hour", 1))["training_cost"]
    assert cost["steps"] == 6 and abs(cost["price"] - cost["tokens"] / 3.6e6) < 1e-9


def backwards(cli: Cli) -> None:
    """A budget gives settings that, planned forwards, stay within it, while the next value up does not."""
    out = plan(cli, "llama-3.1-8b", "--budget", "24GiB", "--dtype", "bf16")
    assert out["reserved_bytes"] <= 24 * GIB and {trade["key"] for trade in out["trades"]} >= {"method"}
    again = plan(cli, "llama-3.1-8b", *(part for key, value in out["settings"].items() if key not in ("use_rslora", "max_new_tokens", "target_modules")
                                        for part in (f"--{key}", value)))
    assert again["peak_bytes"] == out["peak_bytes"]
    for key in ("max_length", "batch_size", "lora_r"):
        most = plan(cli, "qwen2.5-0.5b", "--budget", "6GiB", "--maximize", key, "--dtype", "bf16")
        near = most["nearest"][key]
        assert most["settings"][key] == near["fits"]["value"] and most["reserved_bytes"] <= 6 * GIB
        above = plan(cli, "qwen2.5-0.5b", f"--{key}", near["fits"]["value"] + 1, "--dtype", "bf16") if near["too_much"] else None
        assert above is None or above["reserved_bytes"] > 6 * GIB
    stated = plan(cli, "llama-3.1-8b", "--gpu", "RTX 4090", "--lora_r", 64, "--lora_alpha", 7, "--target_modules", "q_proj,v_proj")["settings"]
    assert (stated["method"], stated["lora_r"], stated["lora_alpha"], stated["target_modules"]) == ("lora", 64, 7, ["q_proj", "v_proj"])
    assert "instead of full" in cli.good("plan", "--model", "llama-3.1-8b", "--gpu", "RTX 4090")
    kept = plan(cli, "llama-3.1-8b", "--gpu", "A100 40GB")  # the host's memory keeps what would not fit
    assert kept["settings"]["method"] == "full" and kept["settings"]["offload"] == ["optimizer"] and kept["host_bytes"] > 50 * GIB, kept
    stated = plan(cli, "llama-3.1-8b", "--gpu", "A100 40GB", "--offload", "none")
    assert stated["settings"]["method"] == "lora" and stated["host_bytes"] == 0, stated["settings"]
    cli.bad("plan", "--model", "llama-3.1-70b", "--budget", "8GiB", says=["budget", "leanest"])


def cards_and_cost(cli: Cli) -> None:
    """Sharding divides; time and money follow from FLOPs."""
    pure = ["--method", "full", "--dtype", "bf16", "--batch_size", 1, "--gradient_checkpointing", "full"]
    cards = [plan(cli, "llama-2-7b", *pure, "--fit", "A100 40GB", "--shard", shard)["fit"] for shard in ("none", "optimizer", "full")]
    assert cards[0]["cards"] is None and (cards[1]["cards"] is None or cards[1]["cards"] >= cards[2]["cards"]), cards
    assert cards[2]["cards"] >= 2 and cards[2]["bytes_per_rank"] <= 40 * GIB
    assert "does not exist yet" in cli.good("plan", "--model", "llama-2-7b", *pure, "--fit", "A100 40GB")
    costs = plan(cli, "llama-2-7b", "--gpu", "H100 SXM", "--method", "lora", "--tokens", 1e9, "--price_per_hour", 2, "--long_prompt", 2000)
    training = costs["training_cost"]
    assert abs(training["price"] - 2 * training["hours"]) < 1e-6 * training["price"]
    assert 4 < training["flops"] / 1e9 / costs["parameters"] < 7  # LoRA: no gradient of the base's weights
    assert costs["compute_optimal"]["tokens"] == 20 * costs["parameters"] and costs["inference"]["long_over_short_flops"] > 2
    cli.bad("plan", "--model", "llama-2-7b", "--gpu", "A100 80GB", "--price_per_hour", 2, says="--tokens")
    cli.bad("plan", "--model", "llama-2-7b", "--tokens", 1e9, "--price_per_hour", 2, says="--tokens_per_second")


def offloaded(cli: Cli) -> None:
    """What --offload keeps in the host's memory, what it copies, and when it is refused."""
    run = ["--method", "full", "--gpu", "RTX 4090", "--gradient_checkpointing", "full", "--tokens", 1e6]
    kept, states, inputs = (plan(cli, "qwen2.5-0.5b", *run, *offload)
                            for offload in ([], ["--offload", "optimizer"], ["--offload", "activations"]))
    assert kept["host_bytes"] == kept["offload_bytes_per_step"] == 0
    state = 12 * kept["parameters"]  # two moments and a master copy, fp32
    assert state <= states["host_bytes"] < 1.001 * state and states["offload_bytes_per_step"] == 2 * state
    settings = inputs["settings"]
    left = 23 * 896 * 2 * settings["batch_size"] * settings["max_length"]  # of 24 layers, bf16
    assert left <= inputs["host_bytes"] < 1.001 * left
    assert inputs["offload_bytes_per_step"] == 2 * left * settings["gradient_accumulation_steps"]
    for out in (states, inputs):
        assert out["peak_bytes"] < kept["peak_bytes"] and out["graphs"]["nodes"] > kept["graphs"]["nodes"]
        assert abs(out["training_cost"]["hours"] / kept["training_cost"]["hours"] - 1) < 1e-6
    assert plan(cli, "qwen2.5-0.5b", *run, "--cuda_graphs", "false")["graphs"] is None
    text = cli.good("plan", "--model", "qwen2.5-0.5b", *run, "--offload", "optimizer,activations")
    assert "optimizer states, layer inputs in the host's memory, pinned" in text and "without the copies of --offload" in text, text
    cli.bad("plan", "--model", "qwen2.5-0.5b", "--offload", "activations", says=["offload", "gradient_checkpointing full"])
    cli.bad("plan", "--model", "qwen2.5-0.5b", "--offload", "weights", says=["offload", "weights"])
    said = "nothing moves: the processor's memory is the host's"
    assert said in cli.good("plan", "--model", TINY, "--max_length", 256, "--offload", "optimizer")
    assert "offload: " + said in cli.good(*cli.train("offloaded", "--offload", "optimizer", "--max_steps", 1))


def page(cli: Cli) -> None:
    """One page, nothing fetched, hostile names escaped."""
    folder = cli.folder / "<script>alert(1)<"
    shutil.copytree(TINY, folder)
    cli.good("plan", "--model", folder, "--html", "plan.html", "--max_length", 256)
    described = cli.write("plan.json", cli.good("plan", "--model", folder, "--json", "--max_length", 256))
    check = ROOT / "tests" / "cli" / "plan_page.py"
    subprocess.run([sys.executable, str(check), str(cli.folder / "plan.html"), str(described)], check=True, capture_output=True)
    text = (cli.folder / "plan.html").read_text()
    assert "<svg" in text and "<script>alert" not in text and not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", text)
    html.parser.HTMLParser().feed(text)
    assert len(text) < 1_000_000


def comparison(cli: Cli) -> None:
    """Rules of thumb and published figures, with reasons."""
    out = cli.good("plan", "--model", "llama-2-7b", "--method", "full", "--compare")
    for words in ("1:1:6", "rule"):
        assert words in out, out
    told = plan(cli, "llama-2-7b", "--method", "full", "--compare")["comparison"]
    assert len(told["rules"]) > 5 and len(told["published"]) > 10
    assert all(row["because"] or row["verdict"] == "matches" for row in told["published"])


def bad_plans(cli: Cli) -> None:
    def config(name: str, **changes):
        content = json.loads((TINY / "config.json").read_text())
        content.update(changes)
        return cli.write(name + ".json", json.dumps(content))

    def refuse(*arguments, says) -> None:
        cli.bad("plan", *arguments, says=says)
        done = cli.run("plan", *arguments)
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr

    refuse("--model", config("heads", num_attention_heads=7), says="num_attention_heads")
    refuse("--model", config("layers", num_hidden_layers=0), says="num_hidden_layers")
    refuse("--model", config("huge", hidden_size=2**31 - 1, intermediate_size=2**31 - 1, head_dim=64, num_attention_heads=6), says="64 bits")
    refuse("--model", config("words", hidden_size="many"), says="hidden_size")
    refuse("--model", "llama-3.1-8b", "--batch_size", "-4", says="batch_size")
    refuse("--model", "llama-3.1-8b", "--batch_size", 1 << 20, "--max_length", 131072, says="batch_size x max_length")
    refuse("--model", "llama-3.1-8b", "--max_length", 10**7, says=["max_length", "131072"])
    refuse("--model", "llama-3.1-9b", says=["llama-3.1-9b", "llama-3.1-8b"])
    refuse("--model", "llama-3.1-8b", "--gpu", "RTX 4091", says="RTX 4090")
    refuse("--model", "llama-3.1-8b", "--gpu", "A100", says="A100 40GB")
    refuse("--model", "llama-3.1-8b", "--budget", "1GiB", says=["budget", "leanest"])
    refuse("--model", "llama-3.1-8b", "--budget", "-3GiB", says="budget")
    refuse("--model", "llama-3.1-8b", "--budget", "9GiB", "--maximize", "hidden_size", says="maximize")
    refuse("--model", "llama-3.1-8b", "--maximize", "batch_size", says="--budget")
    refuse("--model", "llama-3.1-8b", "--fit", "A100 40GB", "--shard", "everything", says="shard")
    refuse("--model", "llama-3.1-8b", "--data", cli.rows(8), says="tokenizer")
    for flag, value in [("tokens", -1), ("tokens", "nan"), ("utilization", 7), ("price_per_hour", "inf"), ("tokens_per_second", 0)]:
        refuse("--model", "llama-3.1-8b", "--gpu", "T4", f"--{flag}", value, says=flag)
    for flags, says in [(["--budget", "9GiB", "--gpu", "T4"], "budget and gpu"), (["--gpu", "T4", "--dtype", "bf16"], "bf16"),
                        (["--device", "cuda"], "--gpu"), (["--long_prompt", 10**12], "long_prompt"), (["--max_new_tokens", 10**12], "max_new_tokens"),
                        (["--threads", 10**9], "threads"), (["--budget", "0"], "budget"), (["--gpu", ""], "gpu"), (["--html", ""], "html"),
                        (["--max_steps", 10**9], "max_steps"), (["--eval_data", "x.jsonl"], "eval_data")]:
        refuse("--model", "llama-3.1-8b", *flags, says=says)
    refuse("--model", "gpt-3-175b", "--budget", "9GiB", says="gpt-3-175b")
    refuse("--model", "gpt-3", says="gpt-3-175b")
    refuse(says="--model")
    trillion = config("trillion", hidden_size=65536, intermediate_size=262144, num_hidden_layers=16, num_attention_heads=512,
                      num_key_value_heads=512, head_dim=128)
    assert plan(cli, trillion, "--max_length", 256)["parameters"] > 10**12


PLAN_CASES = [named_models, counted_models, consistent, planned_is_actual, automatic, rows_and_budgets, backwards, cards_and_cost, offloaded, page, comparison, bad_plans]
