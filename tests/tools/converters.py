#!/usr/bin/env python3
"""Tests of tools/llama2c_to_hf.py and tools/e2e_to_jsonl.py on files made up here. Run by tools/test --slow."""
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools"
DIM, HIDDEN, LAYERS, HEADS, KV_HEADS, CONTEXT = 8, 6, 2, 2, 1, 4
PIECES = ["<unk>", "\n<s>\n", "\n</s>\n", *(f"<0x{byte:02X}>" for byte in range(256)), "ab", " ab", " ", "a", "b", " a"]


def convert(script: str, *arguments) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, TOOLS / script, *arguments], capture_output=True, text=True, check=False)


class Folder(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)


class Llama2c(Folder):
    def write(self, cut: int = 0) -> None:
        kv_dim = DIM // HEADS * KV_HEADS
        per_layer = [DIM, DIM * DIM, kv_dim * DIM, kv_dim * DIM, DIM * DIM, DIM, HIDDEN * DIM, DIM * HIDDEN, HIDDEN * DIM]
        count = len(PIECES) * DIM + LAYERS * sum(per_layer) + DIM + CONTEXT * DIM // HEADS
        header = struct.pack("<7i", DIM, HIDDEN, LAYERS, HEADS, KV_HEADS, len(PIECES), CONTEXT)
        weights = struct.pack(f"<{count}f", *range(count))  # every weight is its own place in the file
        (self.folder / "model.bin").write_bytes((header + weights)[:-cut or None])
        text = struct.pack("<i", 7)
        for number, piece in enumerate(PIECES):
            text += struct.pack("<fi", -float(max(0, number - 259)), len(piece)) + piece.encode()
        (self.folder / "tok.bin").write_bytes(text)

    def run_tool(self) -> subprocess.CompletedProcess:
        return convert("llama2c_to_hf.py", self.folder / "model.bin", self.folder / "tok.bin", self.folder / "hf")

    def test_places(self):
        self.write()
        self.assertEqual(self.run_tool().returncode, 0)
        raw = (self.folder / "hf/model.safetensors").read_bytes()
        length = struct.unpack("<Q", raw[:8])[0]
        header = json.loads(raw[8:8 + length])

        def values(name):
            begin, end = header[name]["data_offsets"]
            return struct.unpack(f"<{(end - begin) // 4}f", raw[8 + length + begin:8 + length + end])

        start = len(PIECES) * DIM
        self.assertEqual(values("model.layers.1.input_layernorm.weight")[0], start + DIM)
        q = start + LAYERS * DIM  # of layer 0, in llama2.c's order of rows
        rows = [values("model.layers.0.self_attn.q_proj.weight")[row * DIM] for row in range(DIM)]
        self.assertEqual(rows, [q + DIM * row for row in (0, 2, 1, 3, 4, 6, 5, 7)])
        v = q + LAYERS * (DIM * DIM + DIM // HEADS * KV_HEADS * DIM)  # behind all q and k
        self.assertEqual(values("model.layers.0.self_attn.v_proj.weight")[0], v)
        self.assertNotIn("lm_head.weight", header)
        self.assertEqual(json.loads((self.folder / "hf/config.json").read_text())["num_key_value_heads"], KV_HEADS)

    def test_merges(self):
        self.write()
        self.run_tool()
        model = json.loads((self.folder / "hf/tokenizer.json").read_text(encoding="utf-8"))["model"]
        self.assertEqual(model["merges"], ["a b", "\u2581 ab", "\u2581a b", "\u2581 a"])
        self.assertEqual(model["vocab"]["</s>"], 2)

    def test_short_file_is_refused(self):
        self.write(cut=4)
        result = self.run_tool()
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("model.bin", result.stderr)
        self.assertFalse((self.folder / "hf").exists())


class E2e(Folder):
    def run_tool(self, valid: str, test: str) -> subprocess.CompletedProcess:
        (self.folder / "valid.txt").write_text(valid, encoding="utf-8")
        (self.folder / "test.txt").write_text(test, encoding="utf-8")
        return convert("e2e_to_jsonl.py", self.folder / "valid.txt", self.folder / "test.txt", self.folder)

    def rows(self, name: str) -> list:
        return [json.loads(line) for line in (self.folder / name).read_text(encoding="utf-8").splitlines()]

    def test_split(self):
        valid = "".join(f"name : {i} | area : x||Text {i} a . \nname : {i} | area : x||Text {i} b . \n" for i in range(30))
        self.assertEqual(self.run_tool(valid, "m||one . \nm||two . \nn||three . \n").returncode, 0)
        train, held_out, test = (self.rows(f"{name}.jsonl") for name in ("train", "valid", "test"))
        self.assertEqual((len(train), len(held_out)), (54, 3))
        self.assertFalse({row["prompt"] for row in train} & {row["prompt"] for row in held_out})
        self.assertEqual(test[0], {"prompt": "m\n", "completion": " one .", "references": ["one .", "two ."]})
        self.assertEqual(held_out[0]["references"][0], held_out[0]["completion"][1:])

    def test_bad_line_is_named(self):
        result = self.run_tool("a||b\nno bars here\n", "m||one\n")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("valid.txt:2", result.stderr)


if __name__ == "__main__":
    unittest.main()
