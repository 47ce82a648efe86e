#!/usr/bin/env python3
"""Makes the corpus of a Llama of 11 million parameters that hone pretrains itself, to compare methods on.

    bench/model/real_llama/corpus.py TEXT_DIR E2E_DIR STORIES_DIR OUT_DIR

TEXT_DIR holds tinystories-a.txt, tinyshakespeare.txt and wikitext-2-valid.txt, E2E_DIR the train.jsonl that
tools/e2e_to_jsonl.py makes, STORIES_DIR the tokenizer of stories260K (tools/fetch_real gets the last two). OUT_DIR gets

    train.jsonl    rows {"text"}: pieces of 600 characters at most, cut where a line or a word ends, and E2E's references
    valid.jsonl    every fiftieth of them, of the three texts only
    general.txt    the same held-out pieces as one text: what fine-tuning forgets is measured on it
    scratch/       config.json and the tokenizer, for `hone train --from_scratch`

and prints the sha256 of the files it read and of those it wrote. The same files give the same bytes.
"""
import hashlib
import json
import pathlib
import shutil
import sys

TEXTS = ["tinystories-a.txt", "tinyshakespeare.txt", "wikitext-2-valid.txt"]
LONGEST = 600
HELD_OUT = 50


def pieces(text: str):
    """Parts of at most LONGEST characters that end at a line's end, or else at a space."""
    at = 0
    while at < len(text):
        end = min(at + LONGEST, len(text))
        if end < len(text):
            cut = max(text.rfind("\n", at + LONGEST // 2, end), text.rfind(" ", end - 100, end))
            end = cut + 1 if cut > at else end
        part = text[at:end].strip()
        if part:
            yield part
        at = end


def row(text: str) -> str:
    return json.dumps({"text": text}, ensure_ascii=False) + "\n"


def sha256(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    texts, e2e, stories, out = (pathlib.Path(argument) for argument in sys.argv[1:])
    sources = [texts / name for name in TEXTS] + [e2e / "train.jsonl", stories / "tokenizer.json"]
    for path in sources:
        if not path.is_file():
            sys.exit(f"{path}: there is no such file")
    train, held_out = [], []
    for path in sources[: len(TEXTS)]:
        for number, part in enumerate(pieces(path.read_text(encoding="utf-8"))):
            (held_out if number % HELD_OUT == HELD_OUT - 1 else train).append(part)
    for line in (e2e / "train.jsonl").read_text(encoding="utf-8").split("\n"):
        if line:
            train.append(json.loads(line)["completion"].strip())
    scratch = out / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    (out / "train.jsonl").write_text("".join(map(row, train)), encoding="utf-8")
    (out / "valid.jsonl").write_text("".join(map(row, held_out)), encoding="utf-8")
    (out / "general.txt").write_text("\n\n".join(held_out) + "\n", encoding="utf-8")
    shutil.copyfile(pathlib.Path(__file__).with_name("config.json"), scratch / "config.json")
    for name in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"]:
        shutil.copyfile(stories / name, scratch / name)
    for path in sources + [out / "train.jsonl", out / "valid.jsonl", out / "general.txt"]:
        print(sha256(path), path.name if path.parent != out else f"made: {path.name}")
    print(f"{len(train)} rows to train on, {len(held_out)} held out")


if __name__ == "__main__":
    main()
