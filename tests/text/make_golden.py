#!/usr/bin/env python3
"""Writes tests/text/golden_components.json: small random tokenizers of every supported component, with the ids and texts
that the Rust library `tokenizers` (pip install tokenizers==0.23.3) gives for them. Run: python3 tests/text/make_golden.py
"""
import json
import pathlib
import random

from tokenizers import Tokenizer

CASES = 32
CHARACTERS = list("abcdeABxyz0123 .,!-_'\n\t") + ["é", "中", "▁", "İ", "ß", "½", "①", "ﬁ", "\u0301"]
EXTRAS = ["<s>", "</s>", " ab ", "Ab", "<|x|>", "12", "<unk>", "  ", "<s>a", "\u3000", "🦙"]
ADDED = ["<s>", "</s>", "ab", "Ab", "<s>a", "  ", "a b", "é", "<|x|>", "12", "▁▁", "."]
PATTERNS = [{"String": s} for s in (" ", "a", "ab", "-", "▁")] + [
    {"Regex": s}
    for s in (r"\s+", r"\d", r"[0-9]{1,3}", r"\w+|[^\w\s]+", r"^a|b$", r"(?<=a)b", r"\p{L}*", r"[^\S\n]", r"[\p{P}]",
              r"(?i)ab", r"x*", r"\b", r".", r"\p{Han}|[[:upper:]]+")]
BEHAVIORS = ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]


def byte_characters():
    printable = [*range(33, 127), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def chance(self, p=0.5):
        return self.random.random() < p

    def pick(self, options):
        return self.random.choice(options)

    def several(self, make, depth, most):
        return [make(depth + 1) for _ in range(self.random.randint(0, most))]

    def normalizer(self, depth=0):
        kind = self.pick(["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Prepend", "Replace", "Strip", "Sequence"])
        part = {"type": kind}
        if kind == "Prepend":
            part["prepend"] = self.pick(["▁", "a ", " "])
        elif kind == "Replace":
            part.update(pattern=self.pick(PATTERNS), content=self.pick(["▁", "", "zz", " "]))
        elif kind == "Strip":
            part.update(strip_left=self.chance(), strip_right=self.chance())
        elif kind == "Sequence":
            part["normalizers"] = self.several(self.normalizer, depth, 3 - depth)
        return part

    def pre_tokenizer(self, depth=0):
        kind = self.pick(["Split", "Metaspace", "Digits", "Punctuation", "ByteLevel", "Sequence"])
        part = {"type": kind}
        if kind == "Split":
            part.update(pattern=self.pick(PATTERNS), behavior=self.pick(BEHAVIORS), invert=self.chance(0.3))
        elif kind == "Metaspace":
            part.update(replacement="▁", prepend_scheme=self.pick(["always", "first", "never"]), split=self.chance())
        elif kind == "Digits":
            part["individual_digits"] = self.chance()
        elif kind == "Punctuation":
            part["behavior"] = self.pick(BEHAVIORS)
        elif kind == "ByteLevel":
            part.update(add_prefix_space=self.chance(), trim_offsets=True, use_regex=self.chance())
        else:
            part["pretokenizers"] = self.several(self.pre_tokenizer, depth, 3 - depth)
        return part

    def decoder(self, depth=0):
        kind = self.pick(["ByteLevel", "Replace", "ByteFallback", "Fuse", "Strip", "Metaspace", "Sequence"])
        part = {"type": kind}
        if kind == "ByteLevel":
            part.update(add_prefix_space=True, trim_offsets=True, use_regex=True)
        elif kind == "Replace":
            part.update(pattern=self.pick(PATTERNS), content=self.pick(["▁", "", " "]))
        elif kind == "Strip":
            part.update(content=self.pick([" ", "a"]), start=self.random.randint(0, 2), stop=0)
        elif kind == "Metaspace":
            part.update(replacement="▁", prepend_scheme=self.pick(["always", "never"]), split=True)
        elif kind == "Sequence":
            part["decoders"] = self.several(self.decoder, depth, 4 - depth)
        return part

    def added_tokens(self, vocab):
        tokens, free = [], len(vocab)
        for content in self.random.sample(ADDED, self.random.randint(0, 6)):
            if content not in vocab:
                free += 1
            flags = {key: self.chance(p) for key, p in (("single_word", 0.25), ("lstrip", 0.3), ("rstrip", 0.3),
                                                       ("normalized", 0.3), ("special", 0.5))}
            tokens.append({"id": vocab.get(content, free - 1), "content": content, **flags})
        return sorted(tokens, key=lambda token: token["id"])

    def model(self):
        byte_level = self.chance(0.3)
        names = ["<unk>"]
        if self.chance(0.4):
            names += [f"<0x{b:02X}>" for b in range(256) if self.chance(0.98)]
        names += byte_characters() if byte_level else [c for c in CHARACTERS if self.chance(0.8)]
        merges = []
        for _ in range(self.random.randint(0, 60)):
            parts = [name for name in names if len(name) < 6 and not name.startswith("<")]
            left, right = self.pick(parts), self.pick(parts)
            merges.append([left, right])
            if left + right not in names:
                names.append(left + right)
        return {"type": "BPE", "dropout": None, "unk_token": self.pick(["<unk>", None]),
                "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": self.chance(),
                "byte_fallback": self.chance(), "ignore_merges": self.chance(0.3),
                "vocab": {name: i for i, name in enumerate(names)}, "merges": merges}

    def post_processor(self, added):
        special = [token for token in added if token["special"]]
        if not special or self.chance(0.4):
            return None
        token, mark = self.pick(special), {"SpecialToken": {"id": "M", "type_id": 0}}
        text = {"Sequence": {"id": "A", "type_id": 0}}
        template = {"type": "TemplateProcessing", "single": [mark, text] + [mark] * self.chance(),
                    "pair": [text, {"Sequence": {"id": "B", "type_id": 0}}],
                    "special_tokens": {"M": {"id": "M", "ids": [token["id"]], "tokens": [token["content"]]}}}
        levels = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
        return self.pick([template, {"type": "Sequence", "processors": [levels, template]}])

    def file(self):
        model = self.model()
        added = self.added_tokens(model["vocab"])
        return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
                "normalizer": self.normalizer() if self.chance(0.6) else None,
                "pre_tokenizer": self.pre_tokenizer() if self.chance(0.8) else None,
                "post_processor": self.post_processor(added),
                "decoder": self.decoder() if self.chance(0.9) else None, "model": model}

    def text(self):
        length = self.pick([0, 1, 5, 15, 40, 80])
        return "".join(self.pick(CHARACTERS if self.chance(0.8) else EXTRAS) for _ in range(length))


def well_defined(tokenizer, file):
    """Two added tokens with one normalised form are found in no fixed order."""
    forms = [tokenizer.normalizer.normalize_str(t["content"]) if tokenizer.normalizer else t["content"]
             for t in file["added_tokens"] if t["normalized"]]
    return len(set(forms)) == len(forms)


def golden(seed):
    maker = Maker(seed)
    file = maker.file()
    tokenizer = Tokenizer.from_str(json.dumps(file))
    if not well_defined(tokenizer, file):
        return None
    case = {"file": file, "encode": [], "decode": []}
    for text in [maker.text() for _ in range(8)]:
        tokenizer.encode_special_tokens = False
        plain = tokenizer.encode(text, add_special_tokens=False).ids
        full = tokenizer.encode(text).ids
        tokenizer.encode_special_tokens = True
        untrusted = tokenizer.encode(text, add_special_tokens=False).ids
        case["encode"].append({"text": text, "plain": plain, "full": full, "untrusted": untrusted})
    count = tokenizer.get_vocab_size()
    # 0.23 spells normalised added tokens in their normalised form when it decodes; earlier releases do not.
    if not any(token["normalized"] for token in file["added_tokens"]):
        for _ in range(8):
            ids = [maker.random.randrange(count if maker.chance() else min(count, 258)) for _ in range(8)]
            case["decode"].append({"ids": ids, "text": tokenizer.decode(ids),
                                   "with_special": tokenizer.decode(ids, skip_special_tokens=False)})
    return case


def main():
    cases, seed = [], 0
    while len(cases) < CASES:
        seed += 1
        case = golden(seed)
        if case is not None:
            cases.append(case)
    path = pathlib.Path(__file__).with_name("golden_components.json")
    lines = ",\n".join(json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in cases)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
