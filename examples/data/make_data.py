#!/usr/bin/env python3
"""Writes the bundled shop world: prose to pretrain on, and the task attributes -> description. Standard library only.

    python3 examples/data/make_data.py [--out FOLDER] [--check]

  prose.txt    product prose, documents between blank lines (not in the repository: 2.2 MB that this script makes)
  prose.jsonl  the same documents as {"text": ...} rows
  train.jsonl  {"prompt", "completion"}: the attributes as `name[Velora] | category[desk lamp] | ...`, then a description
  valid.jsonl  the same for products held out, with three "references" each
  SHA256SUMS   what the bytes must be; --check compares against it instead of writing it

No name occurs twice anywhere: not in two documents, not in a document and a row, not in train.jsonl and valid.jsonl.
"""
import argparse
import hashlib
import json
import pathlib

from prose import document
from world import Draw, check_world, names, product

SEED = 20
DOCUMENTS, TRAIN, VALID, REFERENCES = 6500, 800, 100, 3
HERE = pathlib.Path(__file__).resolve().parent

# A description is an opening and one or two further sentences. The clauses of an attribute the product does not list
# fall away; the feature goes into the opening (before or after the product) or into a sentence of its own.
OPENINGS = ["The {name} is {head}{of}{with}.", "Meet the {name}, {head}{of}{with}.", "{name} is {head}{of}{with}."]
FEATURE_FIRST = "With {feature}, the {name} is {head}{of}."
FEATURE_LATER = ["It has {feature}.", "It comes with {feature}."]
SECOND = {  # by whether audience and price are listed
    (True, True): ["It suits {audience} and costs {price}.", "It costs {price} and suits {audience}.",
                   "Made for {audience}, it costs {price}.", "At {price}, it is made for {audience}."],
    (True, False): ["It suits {audience}.", "It is made for {audience}."],
    (False, True): ["It costs {price}.", "You can have it for {price}."],
    (False, False): [""],
}


def describe(draw, p):
    """One description that mentions every listed attribute word for word."""
    listed = p["listed"]
    head = p["a_colour"] + " " + p["category"] if "colour" in listed else p["a_category"]
    parts = {**p, "head": head, "of": f" made of {p['material']}" if "material" in listed else "", "with": ""}
    opening, later = draw.pick(OPENINGS), ""
    if "feature" in listed:
        place = draw.random()
        if place < 0.5:
            parts["with"] = f" with {p['feature']}"
        elif place < 0.75:
            opening = FEATURE_FIRST
        else:
            later = draw.pick(FEATURE_LATER)
    second = draw.pick(SECOND["audience" in listed, "price" in listed])
    return " ".join(t.format(**parts) for t in (opening, later, second) if t)


def task_product(draw, name):
    p = product(draw, name)
    optional = draw.shuffled(["colour", "material", "price", "feature", "audience"])
    keep = 5 if draw.chance(0.5) else 4 if draw.chance(0.7) else 3
    p["listed"] = set(optional[:keep])
    return p


def prompt(p):
    slots = [("name", p["name"]), ("category", p["category"])]
    slots += [(key, p["feat"] if key == "feature" else p[key])
              for key in ("colour", "material", "price", "feature", "audience") if key in p["listed"]]
    return " | ".join(f"{key}[{value}]" for key, value in slots) + "\n"


def references(draw, p, count):
    """`count` different descriptions."""
    texts = []
    for _ in range(200):
        text = describe(draw, p)
        if text not in texts:
            texts.append(text)
        if len(texts) == count:
            return texts
    raise AssertionError(f"{p['name']}: fewer than {count} different descriptions")


def rows(draw, next_name, count, references_each):
    out = []
    for _ in range(count):
        p = task_product(draw, next_name())
        texts = references(draw, p, references_each)
        row = {"prompt": prompt(p), "completion": " " + texts[0]}
        if references_each > 1:
            row["references"] = texts
        out.append(json.dumps(row))
    return "\n".join(out) + "\n"


def make():
    """File name -> text, in the order they are drawn."""
    check_world()
    pool = iter(names(SEED))
    next_name = lambda: next(pool)
    prose = [document(Draw(SEED * 1000003 + i), next_name) for i in range(DOCUMENTS)]
    assert all("\n\n" not in d and "[" not in d and "|" not in d and d.isascii() for d in prose)
    return {"prose.txt": "\n\n".join(prose) + "\n",
            "prose.jsonl": "".join(json.dumps({"text": d}) + "\n" for d in prose),
            "train.jsonl": rows(Draw(SEED + 1), next_name, TRAIN, 1),
            "valid.jsonl": rows(Draw(SEED + 2), next_name, VALID, REFERENCES)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=HERE)
    parser.add_argument("--check", action="store_true", help="fail if the bytes are not those of SHA256SUMS")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    sums = ""
    for name, text in make().items():
        (args.out / name).write_text(text, encoding="ascii", newline="\n")
        sums += f"{hashlib.sha256(text.encode('ascii')).hexdigest()}  {name}\n"
        print(f"{name}: {len(text)} bytes")
    if not args.check:
        (args.out / "SHA256SUMS").write_text(sums, newline="\n")
    elif sums != (HERE / "SHA256SUMS").read_text():
        raise SystemExit("the bytes differ from SHA256SUMS")


if __name__ == "__main__":
    main()
