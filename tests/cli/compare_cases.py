"""hone compare: methods measured side by side on the bundled tiny model."""
import json

from harness import DATA, TINY, Cli


def comparison(cli: Cli, *more) -> list:
    return ["compare", "--model", TINY, "--data", cli.rows(16), "--output_dir", cli.folder / "compared", "--max_length", 256,
            "--num_epochs", 1, "--learning_rate", 3e-3, "--val_size", 0.25, "--limit", 2, "--max_new_tokens", 24, "--latency_tokens", 4,
            *more]


def compare(cli: Cli) -> None:
    """One table in text, JSON and as a page; what was measured is not measured again."""
    lines = (DATA / "valid.jsonl").read_text().splitlines()[:8]
    general = cli.write("general.txt", "\n\n".join(json.loads(line)["completion"] for line in lines) + "\n")
    contenders = ["--contenders", "few_shot:shots=2,lora:lora_r=4,lora:lora_r=4:load_in_4bit=true,ia3", "--general_text", general]
    first = cli.run(*comparison(cli, *contenders, "--json"))
    assert first.returncode == 0, first.stderr
    table = json.loads(first.stdout)
    rows = {row["name"]: row["mean"] for row in table["methods"]}
    names = ["base", "few_shot:shots=2", "lora:lora_r=4", "lora:lora_r=4:load_in_4bit=true", "ia3"]
    assert list(rows) == names, list(rows)
    base, lora, quantised = rows["base"], rows["lora:lora_r=4"], rows["lora:lora_r=4:load_in_4bit=true"]
    assert lora["loss_gain"] > 0.3 and abs(base["validation_loss"] - lora["validation_loss"] - lora["loss_gain"]) < 1e-12
    assert rows["few_shot:shots=2"]["prompt_tokens"] > 1.5 * base["prompt_tokens"]
    assert rows["few_shot:shots=2"]["trainable"] == 0 < rows["ia3"]["trainable"] < lora["trainable"]
    assert lora["planned_bytes"] == lora["actual_bytes"] > quantised["actual_bytes"] == quantised["planned_bytes"]
    assert {"tokens_per_second", "seconds_to_best", "forgetting", "bleu_gain", "latency_ms", "merged_latency_ms"} <= lora.keys(), lora
    page = cli.folder / "table.html"
    again = cli.run(*comparison(cli, *contenders, "--html", page))
    assert again.returncode == 0 and "measuring" not in again.stderr, again.stderr
    cli.write("general.txt", "Another text.\n\nOf two documents.\n")
    changed = cli.run(*comparison(cli, "--contenders", "lora:lora_r=4", "--general_text", general, "--json"))
    assert changed.returncode == 0 and "measuring lora:lora_r=4" in changed.stderr, changed.stderr
    anew = {row["name"]: row["mean"] for row in json.loads(changed.stdout)["methods"]}["lora:lora_r=4"]
    assert anew["forgetting"] != lora["forgetting"] and anew["validation_loss"] == lora["validation_loss"], anew
    assert "actual_bytes" not in anew, anew  # it was not trained again
    assert "<svg" in page.read_text() and all(name in again.stdout and name in page.read_text() for name in names), again.stdout


def compare_badly(cli: Cli) -> None:
    """A contender that cannot run is refused before the first one does."""
    cli.bad(*comparison(cli, "--contenders", "lora,lora:rank=4"), says=["lora:rank=4", "'rank'"])
    cli.bad(*comparison(cli, "--contenders", "lora,nonsense"), says="nonsense")
    cli.bad(*comparison(cli, "--contenders", "lora,lora"), says="twice")
    cli.bad(*comparison(cli, "--contenders", "few_shot:shots=0"), says="shots")
    cli.bad(*comparison(cli, "--contenders", "base"), says="contenders")
    cli.bad(*comparison(cli, "--contenders", "lora:lora_r"), says="key=value")
    cli.bad(*comparison(cli, "--stack_on", "general=nowhere"), says="stack_on")
    assert not (cli.folder / "compared" / "lora").exists()


COMPARE_CASES = [compare, compare_badly]
