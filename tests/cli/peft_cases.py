"""Methods, quantised bases, and several adapters on one base, as commands on the bundled tiny model."""
import json
import pathlib
import shutil
import struct

from harness import DATA, TINY, Cli


def adapter(cli: Cli, name: str, *more) -> pathlib.Path:
    """An adapter after a few steps."""
    cli.good(*cli.train(name, "--max_steps", 3, "--val_size", 0, "--dtype", "fp32", *more))
    return cli.folder / name / "last"


def ids(cli: Cli, *more) -> list:
    done = cli.run("generate", "--model", TINY, "--prompt", "name[Zaro]\n", "--temperature", 0, "--max_new_tokens", 8,
                   "--dtype", "fp32", "--json", *more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["ids"]


def peft_list(cli: Cli) -> None:
    """The table of methods, of a folder and of a name, as text and as JSON."""
    text = cli.good("peft", "list", "--model", TINY)
    for words in ("lora", "prefix", "prompt", "ia3", "bitfit", "bottleneck", "trainable"):
        assert words in text, text
    rows = json.loads(cli.good("peft", "list", "--model", "llama-3.1-8b", "--json"))
    assert "41943040" in json.dumps(rows), rows
    cli.bad("peft", "list", "--model", "lama-3.1-8b", says="llama-3.1-8b")


def several_adapters(cli: Cli) -> None:
    """Two adapters on one base: added up, and averaged in logits; what cannot be is one sentence."""
    a, b = adapter(cli, "a"), adapter(cli, "b", "--lora_r", 2, "--target_modules", "q_proj,v_proj", "--seed", 7)
    one, two = ["--adapter", f"x={a}"], ["--adapter", f"y={b}"]
    assert ids(cli, *one, "--adapter", f"y={a}", "--combine", "ensemble") == ids(cli, "--adapter", a)
    assert ids(cli, *one, *two, "--combine", "ensemble", "--weights", "1,0") == ids(cli, *one)
    assert ids(cli, *one, *two, "--combine", "ensemble", "--weights", "0,3") == ids(cli, *two)
    assert ids(cli, *one, *two, "--weights", "1,0") == ids(cli, *one)
    assert len(ids(cli, *one, *two)) > 0

    def loss(*more) -> float:
        out = cli.good("eval", "--model", TINY, "--data", cli.rows(4), "--dtype", "fp32", "--json", *more)
        return json.loads(out)["mean_nll"]
    assert abs(loss(*one, "--adapter", f"y={a}", "--combine", "ensemble") - loss("--adapter", a)) < 1e-5
    first, second, mean = loss(*one), loss(*two), loss(*one, *two, "--combine", "ensemble")
    assert first != second and mean < max(first, second) and mean != loss(*one, *two), (first, second, mean)

    ask = ["generate", "--model", TINY, "--prompt", "x", "--max_new_tokens", 2]
    cli.bad(*ask, *one, "--combine", "ensemble", says="at least two adapters")
    cli.bad(*ask, *one, *two, "--combine", "mean", says=["combine", "weighted or ensemble"])
    cli.bad(*ask, *one, *two, "--weights", "1", says="1 of them for 2 adapters")
    cli.bad(*ask, *one, *two, "--combine", "ensemble", "--weights", "0,0", says="shares sum to 0")
    cli.bad(*ask, *one, "--adapter", f"x={b}", says="'x' already")


def bad_adapters(cli: Cli) -> None:
    """Adapters that do not belong here are refused or said to be strange, by name."""
    good = adapter(cli, "good", "--lora_r", 2)
    ask = ["generate", "--model", TINY, "--prompt", "x", "--max_new_tokens", 2, "--dtype", "fp32"]

    def changed(name: str, **keys) -> pathlib.Path:
        folder = cli.folder / name
        shutil.copytree(good, folder)
        config = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps(config | keys))
        return folder

    cli.bad(*ask, "--adapter", changed("loha", peft_type="LOHA"), says=["LOHA", "nearest: LORA"])
    cli.bad(*ask, "--adapter", changed("zero", r=0), says=["adapter_config.json", '"r"'])
    cli.bad(*ask, "--adapter", changed("wide", r=3), says=["lora_A", "was expected"])
    inspected = cli.good("inspect", changed("colour", base_model_name_or_path="\x1b[31m"))
    assert "\x1b" not in inspected and "\\x1b[31m" in inspected and "base_hash" in inspected, inspected
    cli.bad(*cli.train("x", "--target_modules", "q_porj"), says=["q_porj", "nearest names: q_proj"])
    cli.bad(*cli.train("x", "--method", "ia3", "--target_modules", "kproj"), says=["[ia3]", "k_proj"])
    strange = cli.run(*ask, "--adapter", changed("future", shine=[1]))
    assert strange.returncode == 0 and "note:" in strange.stderr and '"shine"' in strange.stderr, strange
    other = cli.folder / "other"
    shutil.copytree(TINY, other)
    weights = other / "model.safetensors"
    data = bytearray(weights.read_bytes())
    size = struct.unpack("<Q", data[:8])[0]
    place = json.loads(data[8:8 + size])["model.layers.0.self_attn.q_proj.weight"]["data_offsets"][0]
    data[8 + size + place + 1] ^= 0x80  # a sign
    weights.write_bytes(data)
    strange = cli.run("generate", "--model", other, *ask[3:], "--adapter", good)
    assert strange.returncode == 0 and "was trained on another base" in strange.stderr, strange
    assert "note:" not in cli.run(*ask, "--adapter", good).stderr


def quantise_and_merge(cli: Cli) -> None:
    """A base in NF4, an adapter over it folded in, in every way, each beside the adapter on its base."""
    cli.good("quantize", "--model", TINY, "--output_dir", cli.folder / "nf4")
    shown = json.loads(cli.good("inspect", cli.folder / "nf4", "--json"))
    assert shown["quantization"]["quant_type"] == "nf4" and 4 < shown["quantization"]["bits_per_parameter"] < 5, shown
    lora = adapter(cli, "lora", "--load_in_4bit")
    text = cli.write("text.txt", "\n".join((DATA / "valid.jsonl").read_text().splitlines()[:4]))
    merge = ["merge", "--model", TINY, "--adapter", lora, "--output_dir", cli.folder / "out", "--dtype", "fp32", "--report_tokens", 64]
    report = ["--load_in_4bit", "--report", text]
    rows = {row["onto"]: row for row in json.loads(cli.good(*merge, *report, "--onto", "requantised", "--json"))}
    assert list(rows) == ["base", "dequantised", "requantised"] and rows["requantised"]["written"], rows
    assert rows["dequantised"]["kl"] < 1e-6 < rows["requantised"]["kl"] and rows["base"]["tokens"] == 64, rows
    assert "quantization" in json.loads(cli.good("inspect", cli.folder / "out", "--json"))
    table = cli.good(*merge, *report, "--onto", "dequantised")
    assert "KL (nats)" in table and "written" in table and "merged " in table, table
    cli.bad(*merge, "--onto", "requantised", says="the base is not quantised")
    cli.bad(*merge, "--onto", "sideways", says=["onto", "sideways"])

    ia3 = adapter(cli, "ia3", "--method", "ia3")
    merge[4], merge[6] = ia3, cli.folder / "folded"
    rows = json.loads(cli.good(*merge, "--report", text, "--json"))
    assert len(rows) == 1 and rows[0]["kl"] < 1e-6 and rows[0]["top1"] == 1, rows
    for method, why in [("prompt", "virtual tokens"), ("prefix", "keys and values"), ("bottleneck", "non-linearity")]:
        merge[4], merge[6] = adapter(cli, method, "--method", method), cli.folder / "refused"
        cli.bad(*merge, says=["cannot be merged", why])
    assert not (cli.folder / "refused").exists()

    broken = cli.folder / "broken"
    shutil.copytree(TINY, broken)
    data = bytearray((broken / "model.safetensors").read_bytes())
    size = struct.unpack("<Q", data[:8])[0]
    name = "model.layers.1.mlp.up_proj.weight"
    place = 8 + size + json.loads(data[8:8 + size])[name]["data_offsets"][0]
    data[place:place + 2] = b"\xc0\x7f"  # NaN in bf16
    (broken / "model.safetensors").write_bytes(data)
    cli.bad("quantize", "--model", broken, "--output_dir", cli.folder / "never", says=[name, "nan"])
    assert not (cli.folder / "never").exists()


def stages(cli: Cli) -> None:
    """An adapter on top of an earlier one; the earlier stage's rows are scored along the way."""
    general = adapter(cli, "general")
    earlier = cli.write("earlier rows.jsonl", cli.rows(16).read_bytes())
    run = cli.train("task", "--max_steps", 2, "--eval_data", cli.rows(8), "--dtype", "fp32", "--stack_on", f"general={general}",
                    "--also_evaluate", f"general={earlier}")
    out = cli.good(*run)
    assert ", difference 0 B" in out and "validation loss" in out and "before" in out, out
    rows = json.loads((cli.folder / "task" / "stages.json").read_text())
    assert [row["name"] for row in rows] == ["this run", "general"] and all(row["before"] and row["last"] for row in rows), rows
    task = cli.folder / "task" / "last"
    alone = cli.run("generate", "--model", TINY, "--prompt", "x", "--max_new_tokens", 1, "--adapter", task)
    assert alone.returncode == 0 and "on top of other adapters" in alone.stderr and "general" in alone.stderr, alone
    both = cli.run("generate", "--model", TINY, "--prompt", "x", "--max_new_tokens", 1, "--adapter", f"general={general}", "--adapter",
                   f"task={task}")
    assert both.returncode == 0 and "note:" not in both.stderr, both
    stacked = ["--adapter", f"general={general}", "--adapter", f"task={task}"]  # in an ensemble the task acts on the general
    assert ids(cli, *stacked) == ids(cli, *stacked, "--combine", "ensemble", "--weights", "0,1")
    cli.bad(*cli.train("x", "--method", "ia3", "--stack_on", f"general={general}"), says="stack_on: only lora")
    cli.bad(*cli.train("x", "--stack_on", "general=nowhere"), says="nowhere")


PEFT_CASES = [peft_list, several_adapters, bad_adapters, quantise_and_merge, stages]
