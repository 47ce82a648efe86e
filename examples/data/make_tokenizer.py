#!/usr/bin/env python3
"""Trains the bundled byte-level BPE tokenizer on the prose. Standard library only, the same bytes every time.

    python3 examples/data/make_tokenizer.py [--prose prose.txt] [--out examples/data/tiny]

Writes tokenizer.json (the layout GPT-2's has, with a TemplateProcessing that puts <|bos|> in front) and
tokenizer_config.json. Training is the classic loop: count pairs of neighbours inside words, merge the most frequent
pair everywhere, repeat; of equally frequent pairs the one whose bytes sort first wins.
"""
import argparse
import collections
import json
import pathlib
import re

VOCABULARY = 1024
SPECIAL = ["<|bos|>", "<|eos|>", "<|pad|>"]
HERE = pathlib.Path(__file__).resolve().parent

# GPT-2's split for ASCII text, where letters are A-Z a-z and digits 0-9 (the prose is ASCII: make_data.py asserts it).
WORD = re.compile(r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")


def byte_alphabet():
    """GPT-2's printable stand-in for each byte: itself where printable, else the next code point from 256 on."""
    keep = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in keep]
    return {b: chr(b) for b in keep} | {b: chr(256 + i) for i, b in enumerate(rest)}


def merged(word, pair):
    out, i = [], 0
    while i < len(word):
        if i + 1 < len(word) and (word[i], word[i + 1]) == pair:
            out.append(word[i] + word[i + 1])
            i += 2
        else:
            out.append(word[i])
            i += 1
    return out


def train(text, merges_wanted):
    """The merges, most frequent first, as pairs of byte strings."""
    counts = collections.Counter(WORD.findall(text))
    words = [[[bytes([b]) for b in word.encode()], count] for word, count in sorted(counts.items())]
    pairs, where = collections.Counter(), collections.defaultdict(set)
    for i, (word, count) in enumerate(words):
        for pair in zip(word, word[1:]):
            pairs[pair] += count
            where[pair].add(i)
    merges = []
    while len(merges) < merges_wanted:
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        assert pairs[best] > 1, "the text is too small for this vocabulary"
        merges.append(best)
        for i in sorted(where[best]):  # only the words that hold the pair change
            word, count = words[i]
            for pair in zip(word, word[1:]):
                pairs[pair] -= count
            words[i][0] = word = merged(word, best)
            for pair in zip(word, word[1:]):
                pairs[pair] += count
                where[pair].add(i)
        del pairs[best]
    return merges


def tokenizer_json(merges):
    alphabet = byte_alphabet()
    show = lambda piece: "".join(alphabet[b] for b in piece)
    pieces = SPECIAL + [alphabet[b] for b in range(256)] + [show(a + b) for a, b in merges]
    assert len(set(pieces)) == len(pieces) == VOCABULARY
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    bos = {"SpecialToken": {"id": SPECIAL[0], "type_id": 0}}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True} for i, t in enumerate(SPECIAL)],
        "normalizer": None, "pre_tokenizer": byte_level,
        "post_processor": {"type": "TemplateProcessing", "single": [bos, {"Sequence": {"id": "A", "type_id": 0}}],
                           "pair": [bos, {"Sequence": {"id": "A", "type_id": 0}},
                                    {"Sequence": {"id": "B", "type_id": 1}}],
                           "special_tokens": {SPECIAL[0]: {"id": SPECIAL[0], "ids": [0], "tokens": [SPECIAL[0]]}}},
        "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {piece: i for i, piece in enumerate(pieces)},
                  "merges": [f"{show(a)} {show(b)}" for a, b in merges]}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prose", type=pathlib.Path, default=HERE / "prose.txt")
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "tiny")
    args = parser.parse_args()
    text = args.prose.read_text(encoding="ascii")
    tokenizer = tokenizer_json(train(text, VOCABULARY - 256 - len(SPECIAL)))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": SPECIAL[0], "eos_token": SPECIAL[1],
              "pad_token": SPECIAL[2], "unk_token": None, "add_bos_token": True, "add_eos_token": False,
              "model_max_length": 256, "clean_up_tokenization_spaces": False}
    args.out.mkdir(parents=True, exist_ok=True)
    for name, value in (("tokenizer.json", tokenizer), ("tokenizer_config.json", config)):
        text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
        (args.out / name).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
