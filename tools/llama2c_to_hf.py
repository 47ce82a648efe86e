#!/usr/bin/env python3
"""Turns a llama2.c checkpoint and its tokenizer into a Hugging Face folder.

    tools/llama2c_to_hf.py stories260K.bin tok512.bin OUT_DIR

Needs Python alone. The checkpoint: seven int32 (dim, hidden, layers, heads, key-value heads, vocabulary, context; a
negative vocabulary means an output matrix of its own), then float32 weights, each kind for all layers in a row. The
tokenizer: int32 longest piece, then for each piece float32 score, int32 bytes, the bytes.
"""
import json
import pathlib
import struct
import sys

FLOAT = 4
SPACE = "\u2581"


class Reader:
    """Cuts values off the front of a file; past its end is an error that names it."""

    def __init__(self, path: str):
        self.path, self.bytes, self.at = path, pathlib.Path(path).read_bytes(), 0

    def take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.bytes):
            sys.exit(f"{self.path}: {count} bytes wanted at {self.at}, but the file has {len(self.bytes)}")
        self.at += count
        return self.bytes[self.at - count:self.at]

    def values(self, form: str) -> tuple:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))


def pairs_to_halves(weight: bytes, heads: int, rows: int, cols: int) -> bytes:
    """llama2.c rotates rows (2i, 2i + 1) of a head together, Hugging Face rows (i, i + half): reorder the rows."""
    per_head, row_bytes = rows // heads, cols * FLOAT
    row = [weight[i * row_bytes:(i + 1) * row_bytes] for i in range(rows)]
    order = [head * per_head + 2 * i + part for head in range(heads) for part in (0, 1) for i in range(per_head // 2)]
    return b"".join(row[i] for i in order)


def read_checkpoint(path: str) -> tuple:
    """config.json as a dict, and name -> (shape, bytes)."""
    file = Reader(path)
    dim, hidden, layers, heads, kv_heads, vocab, context = file.values("7i")
    if min(dim, hidden, layers, heads, kv_heads, context, abs(vocab)) < 1 or dim % heads or heads % kv_heads:
        sys.exit(f"{path}: this is not a llama2.c checkpoint of version 0")
    head_dim, tied, vocab = dim // heads, vocab > 0, abs(vocab)
    kv_dim = kv_heads * head_dim
    tensors = {"model.embed_tokens.weight": ([vocab, dim], file.take(vocab * dim * FLOAT))}
    attention, mlp = "self_attn.{}_proj.weight", "mlp.{}_proj.weight"
    kinds = [("input_layernorm.weight", [dim], 0), (attention.format("q"), [dim, dim], heads),
             (attention.format("k"), [kv_dim, dim], kv_heads), (attention.format("v"), [kv_dim, dim], 0),
             (attention.format("o"), [dim, dim], 0), ("post_attention_layernorm.weight", [dim], 0),
             (mlp.format("gate"), [hidden, dim], 0), (mlp.format("down"), [dim, hidden], 0),
             (mlp.format("up"), [hidden, dim], 0)]
    for name, shape, rotated_heads in kinds:
        for layer in range(layers):
            weight = file.take(shape[0] * (shape[1] if len(shape) == 2 else 1) * FLOAT)
            if rotated_heads:
                weight = pairs_to_halves(weight, rotated_heads, *shape)
            tensors[f"model.layers.{layer}.{name}"] = (shape, weight)
    tensors["model.norm.weight"] = ([dim], file.take(dim * FLOAT))
    file.take(context * head_dim * FLOAT)  # cosines and sines, which everyone computes today
    if not tied:
        tensors["lm_head.weight"] = ([vocab, dim], file.take(vocab * dim * FLOAT))
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": dim,
              "intermediate_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
              "num_key_value_heads": kv_heads, "vocab_size": vocab, "max_position_embeddings": context,
              "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": tied,
              "bos_token_id": 1, "eos_token_id": 2, "attention_bias": False, "mlp_bias": False,
              "torch_dtype": "float32", "initializer_range": 0.02}
    return config, tensors


def write_safetensors(path: pathlib.Path, tensors: dict) -> None:
    header, offset, names = {"__metadata__": {"format": "pt"}}, 0, sorted(tensors)
    for name in names:
        shape, data = tensors[name]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(tensors[name][1] for name in names))


def read_pieces(path: str, count: int) -> list:
    """The (piece, score) of every id. llama2.c writes plain spaces, and line ends around <s> and </s>."""
    file, pieces = Reader(path), []
    file.values("i")
    for number in range(count):
        score, length = file.values("fi")
        text = file.take(length).decode("utf-8")
        special = {0: "<unk>", 1: "<s>", 2: "</s>"}.get(number)
        pieces.append((special or text.replace(" ", SPACE), score))
    return pieces


def tokenizer_json(pieces: list) -> dict:
    """Byte-fallback BPE. Every split of a piece into two pieces is a merge, those of the best score first."""
    ids = {piece: number for number, (piece, _) in enumerate(pieces)}
    merges = []
    for piece, score in sorted(pieces[259:], key=lambda entry: -entry[1]):
        splits = [(piece[:i], piece[i:]) for i in range(1, len(piece)) if piece[:i] in ids and piece[i:] in ids]
        merges += [f"{left} {right}" for left, right in sorted(splits, key=lambda pair: (ids[pair[0]], ids[pair[1]]))]
    special = [{"id": number, "content": pieces[number][0], "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False, "special": True} for number in range(3)]
    first = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": SPACE},
            {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}]},
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing", "single": [first, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [first, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "<s>", "type_id": 1}},
                     {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "vocab": ids, "merges": merges},
    }


def main() -> None:
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    out = pathlib.Path(sys.argv[3])
    config, tensors = read_checkpoint(sys.argv[1])
    pieces = read_pieces(sys.argv[2], config["vocab_size"])
    out.mkdir(parents=True, exist_ok=True)
    write_safetensors(out / "model.safetensors", tensors)
    settings = {"add_bos_token": True, "add_eos_token": False, "bos_token": "<s>", "eos_token": "</s>",
                "unk_token": "<unk>", "model_max_length": config["max_position_embeddings"],
                "tokenizer_class": "LlamaTokenizer", "legacy": True}
    # llama2.c puts <s> between stories, so both ids end one.
    generation = {"bos_token_id": 1, "eos_token_id": [1, 2], "do_sample": False}
    for name, content in (("config.json", config), ("tokenizer.json", tokenizer_json(pieces)),
                          ("tokenizer_config.json", settings), ("generation_config.json", generation)):
        (out / name).write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
    print(f"{out}: {len(tensors)} tensors, {len(pieces)} pieces")


if __name__ == "__main__":
    main()
