#!/usr/bin/env python3
"""Runs the program as a person would, well and badly, on the bundled tiny model.

    check_cli.py [--program build/hone] [--counts FILE]

Each case is a function, here, in plan_cases.py, compare_cases.py or peft_cases.py. Bad input must end with an exit code that is not 0 and one sentence that names the flag,
file, line or tensor; finished work must survive.
"""
import argparse
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import traceback
import unicodedata

from compare_cases import COMPARE_CASES
from harness import ROOT, TINY, Cli
from peft_cases import PEFT_CASES
from plan_cases import PLAN_CASES

def main_job(cli: Cli) -> None:
    """train, eval, merge and generate, each on what the one before wrote."""
    out = cli.good(*cli.train("job", "--eval_data", cli.rows(8), "--logging_steps", 1))
    assert "trainable params: 256,000 || all params: 2,236,480 || trainable%: 11.4466" in out, out
    assert ", difference 0 B" in out, out
    metrics = [json.loads(line) for line in (cli.folder / "job" / "metrics.jsonl").read_text().splitlines()]
    assert sum("loss" in line for line in metrics) == 6 and any("eval_loss" in line for line in metrics)
    adapter = cli.folder / "job" / "last"
    before = json.loads(cli.good("eval", "--model", TINY, "--data", cli.rows(8), "--json"))
    after = json.loads(cli.good("eval", "--model", TINY, "--adapter", adapter, "--data", cli.rows(8), "--json"))
    assert after["mean_nll"] < 0.8 * before["mean_nll"], (before, after)
    cli.good("merge", "--model", TINY, "--adapter", adapter, "--output_dir", cli.folder / "merged", "--dtype", "fp32")
    merged = json.loads(cli.good("eval", "--model", cli.folder / "merged", "--data", cli.rows(8), "--json"))
    assert abs(merged["mean_nll"] - after["mean_nll"]) < 1e-4, (merged, after)
    generated = json.loads(cli.good("eval", "--model", cli.folder / "merged", "--data", cli.rows(8), "--generate", "--limit", 2, "--json"))
    assert generated["generated"] == 2 and {"bleu", "rouge_l", "slot_error_rate"} <= generated.keys(), generated
    assert "adapter" in cli.good("inspect", adapter) and "lora_A" in cli.good("inspect", adapter / "adapter_model.safetensors")
    text = [cli.good("generate", "--model", cli.folder / "merged", "--prompt", "name[Zaro]\n", "--seed", 3, "--temperature", 1,
                     "--max_new_tokens", 12) for _ in range(2)]
    assert text[0] == text[1] and text[0].strip()


def resume(cli: Cli) -> None:
    """A run that goes on from a checkpoint ends in the same adapter."""
    cli.good(*cli.train("whole", "--save_steps", 2, "--save_total_limit", 9))
    shutil.copytree(cli.folder / "whole" / "checkpoint-4", cli.folder / "half" / "checkpoint-4")
    assert "resumed from" in cli.good(*cli.train("half", "--save_steps", 2, "--resume"))
    same = [(cli.folder / run / "last" / "adapter_model.safetensors").read_bytes() for run in ("whole", "half")]
    assert same[0] == same[1]


def yaml_and_aliases(cli: Cli) -> None:
    """A file gives what no flag says; other trainers' names are understood; kebab-case is snake_case."""
    config = cli.write("run.yaml", f"model_name_or_path: {TINY}\ndata: {cli.rows(8)}\nnum_train_epochs: 1\nlora_rank: 4\n"
                                   "target_modules: [q_proj, v_proj]\nlearning_rate: 0.001\nmax_length: 256\n")
    done = cli.run("train", "--config", config, "--output-dir", cli.folder / "yaml", "--lora-r=2")
    assert done.returncode == 0, done.stderr
    assert "--lora_rank is called --lora_r here" in done.stderr
    assert json.loads((cli.folder / "yaml" / "last" / "adapter_config.json").read_text())["r"] == 2
    cli.bad("train", "--config", cli.write("bad.yaml", "model: x\nmodel: y\n"), says="bad.yaml:2")
    cli.bad("train", "--config", cli.write("worse.yaml", "a: [1\n"), says="worse.yaml")
    cli.bad("train", "--config", cli.write("tab.yaml", "model: x\n\tdata: y\n"), says="tab.yaml:2")
    cli.bad("train", "--config", cli.folder / "none.yaml", says="none.yaml")
    cli.bad("train", "--config", cli.folder, says=[str(cli.folder), "folder"])
    os.mkfifo(cli.folder / "pipe.yaml")
    cli.bad("train", "--config", cli.folder / "pipe.yaml", says=["pipe.yaml", "not a regular file"])


def perplexity(cli: Cli) -> None:
    """Documents are blocks, lines or the file; every token is scored once."""
    text = cli.write("text.txt", "The lamp is blue.\nIt costs $20.\n\nThe mug is red.\n")
    blocks, lines, whole = (json.loads(cli.good("eval", "--model", TINY, "--text", text, "--json", *flag))
                            for flag in ([], ["--per-line"], ["--whole"]))
    assert [len(result["documents"]) for result in (blocks, lines, whole)] == [2, 3, 1]
    for result in (blocks, lines, whole):
        assert result["tokens"] == sum(document["tokens"] for document in result["documents"])
        assert abs(result["mean_nll"] * result["tokens"] - sum(document["nll"] for document in result["documents"])) < 1e-6
    long = cli.write("long.txt", "The lamp is blue. " * 200)
    ids = json.loads(cli.good("tokenize", "--model", TINY, "--file", long, "--json", "--no-special"))["ids"]
    assert json.loads(cli.good("eval", "--model", TINY, "--text", long, "--whole", "--json"))["tokens"] == len(ids) > 256


def tokenizing(cli: Cli) -> None:
    """ids as JSON, special tokens on demand."""
    text = cli.write("special.txt", "<|eos|> blue lamp")
    with_special = json.loads(cli.good("tokenize", "--model", TINY, "--file", text, "--json"))["ids"]
    plain = json.loads(cli.good("tokenize", "--model", TINY / "tokenizer.json", "--file", text, "--json", "--no-special"))["ids"]
    assert 1 in with_special and 1 not in plain and len(plain) > len(with_special) - 1


def bad_flags(cli: Cli) -> None:
    cli.bad("train", "--learnin-rate", "3", says="the nearest is --learning_rate")
    cli.bad(*cli.train("x", "--learning_rate", "nan"), says="learning_rate")
    cli.bad(*cli.train("x", "--batch_size", "-1"), says="batch_size")
    cli.bad(*cli.train("x", "--batch_size", "many"), says="batch_size")
    cli.bad(*cli.train("x", "--method", "magic"), says=["method", "magic"])
    cli.bad(*cli.train("x", "--lora_r", "0"), says="rank")
    cli.bad(*cli.train("x", "--target_modules", "no_proj"), says="no_proj")
    cli.bad(*cli.train("x", "--max_length", "4096"), says=["max_length", "256"])
    refused = cli.run(*cli.train("x", "--vram_budget", "1MiB"))  # with its ledger: more than a line
    assert refused.returncode == 1 and "vram_budget" in refused.stderr and "the leanest run" in refused.stderr, refused.stderr
    cli.bad(*cli.train("x", "--vram_budget", "lots"), says="vram_budget")
    cli.bad("eval", "--model", TINY, says="--text FILE or --data FILE")
    cli.bad("generate", "--model", TINY, "--prompt", "x", "--temperature", "-1", says="temperature")
    assert cli.run().returncode == 2 and cli.run("fly").returncode == 2


def bad_rows(cli: Cli) -> None:
    row = '{"prompt": "a", "completion": " b"}\n'
    for name, content, says in [("empty", "", "no row"), ("binary", b"\xff\xfe\x00", ["binary.jsonl", "UTF-8"]), ("torn", row + '{"prompt": "a", "comp', ":2"),
                                ("wrong", row + '{"prompt": 3, "completion": "b"}\n', [":2", "prompt"]), ("keys", '{"question": "a"}\n', [":1", "prompt"]),
                                ("nothing", row + '{"prompt": "a", "completion": ""}\n', ":2"), ("twice", '{"text": "a", "text": "b"}\n', ":1")]:
        path = cli.write(name + ".jsonl", content)
        cli.bad("train", "--model", TINY, "--data", path, "--output_dir", cli.folder / "x", "--max_length", 64, says=says)
    cli.bad("eval", "--model", TINY, "--text", cli.write("void.txt", "\n\n"), says="void.txt")
    long = cli.write("long.jsonl", json.dumps({"prompt": "a", "completion": " lamp" * 400}) + "\n")
    cli.bad("train", "--model", TINY, "--data", long, "--output_dir", cli.folder / "x", "--max_length", 64, says="max_length")


def broken_models(cli: Cli) -> None:
    def copy(name: str, **changes) -> pathlib.Path:
        folder = cli.folder / name
        shutil.copytree(TINY, folder)
        config = json.loads((folder / "config.json").read_text())
        config.update(changes)
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    def generate(folder: pathlib.Path, says) -> None:
        cli.bad("generate", "--model", folder, "--prompt", "x", says=says)

    generate(cli.folder / "nowhere", "nowhere")
    generate(copy("wider", hidden_size=384, head_dim=32), ["embed_tokens", "(1024, 192)"])
    generate(copy("deeper", num_hidden_layers=6), "model.layers.5")
    generate(copy("shallower", num_hidden_layers=4), "model.layers.4")
    generate(copy("gemma", model_type="gemma"), "gemma")
    generate(copy("yarn", rope_scaling={"rope_type": "yarn", "factor": 2.0}), "yarn")
    generate(copy("small_vocab", vocab_size=1000), ["1024", "1000"])
    generate(copy("uneven", num_key_value_heads=4), "num_key_value_heads")
    truncated = copy("truncated")
    weights = (truncated / "model.safetensors").read_bytes()
    (truncated / "model.safetensors").write_bytes(weights[:-100])
    generate(truncated, "model.safetensors")
    (truncated / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + weights[8:])
    generate(truncated, "model.safetensors")
    (truncated / "model.safetensors").unlink()
    (truncated / "pytorch_model.bin").write_bytes(b"x")
    generate(truncated, "pickle")


def finished_work(cli: Cli) -> None:
    """Nothing that somebody made is removed unasked."""
    cli.good(*cli.train("first"))
    cli.bad(*cli.train("first"), says=["earlier run", "--overwrite_output_dir"])
    adapter = cli.folder / "first" / "last"
    for target in (cli.folder / "first", adapter):
        cli.bad("merge", "--model", TINY, "--adapter", adapter, "--output_dir", target, says=str(target))
    assert (cli.folder / "first" / "metrics.jsonl").exists() and (adapter / "adapter_model.safetensors").exists()
    best = cli.folder / "first" / "best"
    cli.good(*cli.train("first", "--overwrite_output_dir", "--eval_data", cli.rows(4)))
    assert best.exists()
    cli.good(*cli.train("first", "--overwrite_output_dir", "--val_size", 0))  # nothing is the best of what is not validated
    assert not best.exists()
    adapter.rename(best)  # a result without checkpoints is a result
    for checkpoint in (cli.folder / "first").glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    cli.bad(*cli.train("first"), says="holds an earlier run")
    cli.good(*cli.train("first", "--resume", "--val_size", 0))  # killed before its first checkpoint, as far as it can tell
    assert adapter.exists() and not best.exists()
    shutil.copytree(TINY, best)
    again = cli.train("first", "--overwrite_output_dir")
    again[again.index("--model") + 1] = best
    cli.bad(*again, says=["output_dir", "would be replaced"])
    assert (best / "config.json").exists()


def full_disk(cli: Cli) -> None:
    """What was finished before the disk filled up stays whole."""
    cli.good(*cli.train("disk"))
    kept = (cli.folder / "disk" / "last" / "adapter_model.safetensors").read_bytes()
    done = cli.run(*cli.train("disk", "--seed", 7, "--overwrite_output_dir"), file_limit=200_000)
    assert done.returncode != 0 and "disk" in done.stderr, done.stderr
    assert (cli.folder / "disk" / "last" / "adapter_model.safetensors").read_bytes() == kept
    assert not list((cli.folder / "disk").glob("*.tmp*")), list((cli.folder / "disk").iterdir())


def closed_output(cli: Cli) -> None:
    """What standard output lost is an error, also when it was lost at the very end."""
    for arguments in (["plan", "--model", "smollm2-135m"], ["inspect", TINY], ["plan", "--help"], ["--version"]):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([str(cli.program), *map(str, arguments)], stdout=full, stderr=subprocess.PIPE, text=True,
                                  stdin=subprocess.DEVNULL, check=False, cwd=cli.folder)
        assert (done.returncode, done.stderr) == (1, "error: standard output could not be written\n"), (arguments, done)


def hostile_names(cli: Cli) -> None:
    """No name in an error reaches the terminal as it is; one that is too long loses its middle."""
    for name in ("\x1b[31mred\x07", "a\tb\r", "\u009b2J"):
        for arguments in (["plan", "--model", name], ["generate", "--model", name, "--prompt", "x"], ["tokenize", "--model", TINY, "--file", name],
                          ["inspect", name], ["plan", name], ["plan", "--" + name, "x"], ["plan", "--config", name], ["plan", "--lora_r", name]):
            done = cli.run(*arguments)
            controls = {c for c in done.stderr if unicodedata.category(c) == "Cc"}
            assert done.returncode in (1, 2) and "\\x" in done.stderr and controls <= {"\n"}, (arguments, done)
    for arguments in (["plan", "--model", "m" * 5000], ["inspect", "m" * 5000], ["plan", "--budget", "9" * 5000, "--model", "smollm2-135m"]):
        done = cli.run(*arguments)
        assert done.returncode == 1 and "..." in done.stderr and len(done.stderr) < 700, (arguments, done)


def tuning(cli: Cli) -> None:
    """hone tune says in a sentence why it cannot run; where there is a card, training goes by what it wrote."""
    table = cli.folder / "tune.json"
    unread = ["tune", "--model", TINY, "--output", table]
    ask = [*unread, "--data", cli.rows(24), "--max_length", 256]
    cli.bad(*unread, says=["data", "--packing"])
    cli.bad("tune", "--model", TINY, says="--output FILE")
    cli.bad("tune", "--output", table, says="--model FOLDER")
    cli.bad(*ask, "--device", "cpu", says=["device", "cpu"])
    cli.bad(*ask, "--batch_size", "auto", says="batch_size")
    cli.bad("tune", "--model", TINY, "--packing", "--output", cli.folder / "nowhere" / "tune.json", says=["output", "nowhere"])
    cli.bad("tune", "--model", TINY, "--packing", "--output", cli.folder, says=["output", "is a folder"])
    cli.bad(*cli.train("x", "--device", "cpu", "--gemm_tuning", table), says=["gemm_tuning", "tune.json", "cpu"])
    assert "--gemm_tuning" in cli.good("train", "--help") and "--output" in cli.good("tune", "--help")
    done = cli.run(*ask)
    if done.returncode == 0:
        assert json.loads(table.read_text())["products"] and "matrix products" in done.stdout
        told = cli.good(*cli.train("tuned", "--device", "cuda", "--gemm_tuning", table))
        assert "GEMM tuning" in told and "products are in the table" in told, told
        cli.bad(*cli.train("tuned", "--device", "cuda", "--resume"), says=["GEMM tuning", "resume"])
    else:
        assert "there is none to ask" in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
        assert cli.run(*unread, "--packing", "--max_length", 256).stderr == done.stderr  # that batches are all full is enough to know
        assert not table.exists()


CASES = [main_job, resume, yaml_and_aliases, perplexity, tokenizing, bad_flags, bad_rows, broken_models, finished_work, full_disk,
         closed_output, hostile_names, tuning, *PLAN_CASES, *COMPARE_CASES, *PEFT_CASES]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "build" / "hone")
    parser.add_argument("--counts", type=pathlib.Path)
    options = parser.parse_args()
    failed = 0
    for case in CASES:
        with tempfile.TemporaryDirectory(prefix="hone-cli-") as folder:
            try:
                case(Cli(options.program.resolve(), pathlib.Path(folder)))
                print(f"ok      {case.__name__}")
            except Exception:  # a case that fails must not hide the others
                failed += 1
                print(f"FAILED  {case.__name__}\n{traceback.format_exc()}")
    print(f"{len(CASES) - failed} passed, {failed} failed, 0 skipped")
    if options.counts:
        options.counts.write_text(f"{len(CASES) - failed} {failed} 0\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
