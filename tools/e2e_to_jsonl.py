#!/usr/bin/env python3
"""Turns the E2E restaurant files into rows that hone trains on.

    tools/e2e_to_jsonl.py lora-valid.txt lora-test.txt OUT_DIR [--seed 0] [--valid_share 0.1]

The files hold one `meaning representation||reference` a line, as the LoRA paper's repository has them (tools/fetch_real
gets them). There is no training file here, so lora-valid.txt is split by meaning representation: those in valid.jsonl
are never seen in train.jsonl. Rows of one meaning representation are one group:

    train.jsonl   one row a reference        {"prompt", "completion"}
    valid.jsonl   one row a group            {"prompt", "completion", "references"}
    test.jsonl    one row a group            {"prompt", "completion", "references"}

A prompt is the meaning representation and a line end; a completion is a space and the reference. Where a group is one row,
its completion is the first reference. The same seed gives the same bytes.
"""
import argparse
import json
import pathlib
import random
import sys


def read_groups(path: pathlib.Path) -> dict:
    """Meaning representation -> its references, both in the order of the file."""
    groups = {}
    # Only "\n" ends a line here: str.splitlines would cut at characters that belong to the text.
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        meaning, bars, reference = (part.strip() for part in line.partition("||"))
        if not (meaning and bars and reference):
            sys.exit(f"{path}:{number}: a line must read `meaning||reference`, not {line!r}")
        groups.setdefault(meaning, []).append(reference)
    if not groups:
        sys.exit(f"{path}: there is no row in this file")
    return groups


def row(meaning: str, reference: str, references: list = None) -> dict:
    out = {"prompt": meaning + "\n", "completion": " " + reference}
    if references:
        out["references"] = references
    return out


def write(path: pathlib.Path, rows: list) -> None:
    text = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in rows)
    path.write_text(text, encoding="utf-8", newline="\n")
    print(f"{path}: {len(rows)} rows")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("valid", type=pathlib.Path, help="lora-valid.txt")
    parser.add_argument("test", type=pathlib.Path, help="lora-test.txt")
    parser.add_argument("out_dir", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--valid_share", type=float, default=0.1, help="share of the meaning representations")
    arguments = parser.parse_args()
    if not 0 < arguments.valid_share < 1:
        parser.error(f"--valid_share must lie between 0 and 1, not {arguments.valid_share}")

    seen, test = read_groups(arguments.valid), read_groups(arguments.test)
    meanings = list(seen)
    random.Random(arguments.seed).shuffle(meanings)
    held_out = set(meanings[: max(1, round(arguments.valid_share * len(meanings)))])

    arguments.out_dir.mkdir(parents=True, exist_ok=True)
    write(arguments.out_dir / "train.jsonl",
          [row(meaning, text) for meaning, texts in seen.items() if meaning not in held_out for text in texts])
    write(arguments.out_dir / "valid.jsonl",
          [row(meaning, texts[0], texts) for meaning, texts in seen.items() if meaning in held_out])
    write(arguments.out_dir / "test.jsonl", [row(meaning, texts[0], texts) for meaning, texts in test.items()])


if __name__ == "__main__":
    main()
