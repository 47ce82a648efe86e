#!/usr/bin/env python3
"""Holds the house rules a compiler does not: who may include whom, which folder may use which library.

    tools/check_layers.py              checks include/ and cuda/ of this repository
    tools/check_layers.py --self-test  checks that every rule catches a snippet that breaks it

Each finding is one sentence with file and line; the exit code is 1 when there is any.
"""
import pathlib
import re
import sys
import tempfile
from typing import Iterator, NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Bottom to top. A folder includes itself and folders of lower rank; folders of equal rank do not include each other.
ORDER = [["core"], ["memory"], ["tensor"], ["quant"], ["autograd"], ["ops"], ["nn"], ["optim", "peft"], ["models"],
         ["step"], ["plan"], ["infer", "eval"], ["train"], ["dist"]]
RANK = {folder: rank for rank, folders in enumerate(ORDER) for folder in folders}

# Folders beside that order: what they may include, apart from themselves.
BESIDE = {
    "cpu": {"core", "memory", "tensor", "quant"},
    "io": {"core", "memory", "tensor"},
    "text": {"core", "memory", "tensor", "io"},
    "emu": {"core"},
    "cuda/device": {"core", "memory", "tensor", "emu"},
    "cuda/prim": {"core", "tensor", "emu", "cuda/device"},
    "cuda/kernels": {"core", "memory", "tensor", "quant", "cuda/device", "cuda/prim"},
    "cuda/study": {"core", "tensor", "cuda/device", "cuda/prim", "cuda/kernels"},
}
# The lowest rank that may include a folder beside the order; None: nothing in the order may.
BESIDE_FROM = {"cpu": RANK["autograd"], "io": RANK["nn"], "text": RANK["models"], "emu": None,
               "cuda/device": None, "cuda/prim": None, "cuda/kernels": None, "cuda/study": None}

# Who may include a third-party header: path prefixes relative to an include root ("cuda/..." is the CUDA root).
LIBRARIES = [
    (r"fmt/", ["hone/core/error.hpp", "hone/io/log.hpp"], "fmt"),
    (r"nlohmann/", ["hone/io/"], "nlohmann/json"),
    (r"pcre2\.h", ["hone/text/"], "PCRE2"),
    (r"utf8proc\.h", ["hone/text/"], "utf8proc"),
    (r"xxhash\.h", ["hone/io/"], "xxHash"),
    (r"boost/", ["hone/emu/"], "Boost"),
    (r"(cuda|cublas|curand|cusparse|nccl|mma|cooperative_groups|cub/|nvrtc|nvml)\w*", ["cuda/"], "CUDA headers"),
    (r"(CLI/|yaml-cpp/|doctest/|zlib\.h|gtest/)", [], "a library of the tools or the tests"),
]


class Rule(NamedTuple):
    pattern: str          # on a line without comments and string literals
    folders: list         # path prefixes it applies to
    exempt: list          # path prefixes that are free of it
    sentence: str


TEXT_RULES = [
    Rule(r"^\s*#\s*(if|ifdef|ifndef|elif)\b.*\b__(AVX|AMX|SSE|FMA__|F16C__|BMI)", ["hone/"], [],
         "an instruction-set macro chooses a body; choose through core/isa.hpp at run time"),
    Rule(r"^\s*#\s*define\b(?!\s+(PCRE2|XXH)_)", ["hone/", "cuda/"], ["hone/core/config.hpp", "cuda/hone/device/"],
         "a macro outside core/config.hpp (settings that a library of the folder must see first are free)"),
    Rule(r"\breinterpret_cast\s*<|\bmem(cpy|move)\s*\(", ["hone/io/"], ["hone/io/byte_reader.hpp"],
         "file bytes are read through io/byte_reader.hpp, not reinterpreted or copied here"),
    Rule(r"(<<<|\b__shfl\w*|\basm\b|\bextern\s+__shared__)", ["cuda/hone/kernels/", "cuda/hone/study/"], [],
         "kernel language belongs in cuda/hone/device or cuda/hone/prim"),
    Rule(r"(?<![\w:.>])(std::|::)?(exit|_Exit|quick_exit|abort)\s*\(", ["hone/", "cuda/"], [],
         "the library never ends the program; throw"),
    Rule(r"^using\s+namespace\b", ["hone/", "cuda/"], [], "a header opens a namespace for everyone who includes it"),
]

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


class Header(NamedTuple):
    path: str             # relative to its include root, CUDA's with the prefix cuda/: hone/core/error.hpp
    shown: str            # relative to the repository
    lines: list
    code: list            # the same lines without comments and string literals


def without_comments(text: str) -> str:
    """Blanks comments, string and character literals; keeps line numbers and include names."""
    def blank(match: re.Match) -> str:
        return re.sub(r"[^\n]", " ", match.group(0))
    literal = r'//[^\n]*|/\*.*?\*/|(?<!include )(?<!include)"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n]){1,4}\''
    return re.sub(literal, blank, text, flags=re.S)


def headers(root: pathlib.Path) -> Iterator[Header]:
    for include_root, prefix in ((root / "include", ""), (root / "cuda", "cuda/")):
        for path in sorted(include_root.rglob("*")):
            if path.suffix not in (".hpp", ".cuh", ".h"):
                continue
            text = path.read_text(encoding="utf-8")
            yield Header(prefix + path.relative_to(include_root).as_posix(), path.relative_to(root).as_posix(),
                         text.splitlines(), without_comments(text).splitlines())


def folder_of(path: str) -> str:
    """hone/ops/x.hpp -> ops; cuda/hone/kernels/x.cuh -> cuda/kernels; a file right under hone/ -> '' (an umbrella)."""
    in_cuda = path.startswith("cuda/")
    parts = path.removeprefix("cuda/").removeprefix("hone/").split("/")
    if len(parts) == 1:
        return ""
    return ("cuda/" if in_cuda else "") + parts[0]


def may_include(user: str, used: str) -> bool:
    if user in ("", used):
        return True
    if used == "":
        return False
    if user in BESIDE:
        return used in BESIDE[user]
    if user not in RANK:
        return True  # reported once, as an unknown folder
    if used in BESIDE:
        lowest = BESIDE_FROM[used]
        return lowest is not None and RANK[user] >= lowest
    return used in RANK and RANK[used] < RANK[user]


def check_header(header: Header, known: dict) -> Iterator[str]:
    if not any(line.strip() == "#pragma once" for line in header.lines):
        yield f"{header.shown}:1: no #pragma once"
    folder = folder_of(header.path)
    if folder and folder not in RANK and folder not in BESIDE:
        yield f"{header.shown}:1: folder '{folder}' has no place in the layer order of tools/check_layers.py"
    for number, line in enumerate(header.code, 1):
        where = f"{header.shown}:{number}:"
        include = INCLUDE.match(line)
        if include:
            yield from check_include(header, folder, include, where, known)
        for rule in TEXT_RULES:
            if header.path.startswith(tuple(rule.folders)) and not header.path.startswith(tuple(rule.exempt) or ("\0",)):
                if re.search(rule.pattern, line):
                    yield f"{where} {rule.sentence}"


def check_include(header: Header, folder: str, include: re.Match, where: str, known: dict) -> Iterator[str]:
    quote, name = include.groups()
    if quote == '"':
        yield f'{where} "{name}" is included in quotes; write <hone/...>'
        return
    if name.startswith("hone/"):
        used = known.get(name) or known.get("cuda/" + name)
        if used is None:
            yield f"{where} <{name}> does not exist"
        elif not may_include(folder, folder_of(used)):
            yield f"{where} {folder or 'an umbrella'} must not include {folder_of(used) or 'an umbrella'} (<{name}>)"
        return
    for pattern, users, what in LIBRARIES:
        if re.match(pattern, name) and not header.path.startswith(tuple(users) or ("\0",)):
            allowed = ", ".join(users) or "no header"
            yield f"{where} <{name}>: {what} may be included by {allowed} only"


def cycles(all_headers: list, known: dict) -> Iterator[str]:
    edges = {header.path: [] for header in all_headers}
    shown = {header.path: header.shown for header in all_headers}
    for header in all_headers:
        for line in header.code:
            include = INCLUDE.match(line)
            used = include and (known.get(include[2]) or known.get("cuda/" + include[2]))
            if used:
                edges[header.path].append(used)
    state: dict = {}

    def visit(path: str, trail: list) -> Iterator[str]:
        state[path] = "open"
        for used in edges[path]:
            if state.get(used) == "open":
                loop = trail[trail.index(used):] if used in trail else trail
                yield f"{shown[path]}:1: include cycle: {' -> '.join([*loop, used])}"
            elif used not in state:
                yield from visit(used, [*trail, used])
        state[path] = "done"

    for path in edges:
        if path not in state:
            yield from visit(path, [path])


def check(root: pathlib.Path) -> list:
    all_headers = list(headers(root))
    known = {header.path: header.path for header in all_headers}
    found = [sentence for header in all_headers for sentence in check_header(header, known)]
    return found + list(cycles(all_headers, known))


# One snippet a rule: file, its text, and words the finding must contain. `good` files must give no finding.
BROKEN = [
    ("include/hone/tensor/x.hpp", "#include <hone/ops/base.hpp>", "tensor must not include ops"),
    ("include/hone/ops/x.hpp", "#include <hone/nn/base.hpp>", "ops must not include nn"),
    ("include/hone/optim/x.hpp", "#include <hone/peft/base.hpp>", "optim must not include peft"),
    ("include/hone/cpu/x.hpp", "#include <hone/autograd/base.hpp>", "cpu must not include autograd"),
    ("include/hone/emu/x.hpp", "#include <hone/tensor/base.hpp>", "emu must not include tensor"),
    ("include/hone/ops/x.hpp", "#include <hone/io/base.hpp>", "ops must not include io"),
    ("include/hone/io/x.hpp", "#include <hone/ops/base.hpp>", "io must not include ops"),
    ("include/hone/text/x.hpp", "#include <hone/models/base.hpp>", "text must not include models"),
    ("include/hone/core/x.hpp", "#include <hone/engine.hpp>", "must not include an umbrella"),
    ("include/hone/core/x.hpp", "#include <hone/core/none.hpp>", "does not exist"),
    ("include/hone/core/x.hpp", '#include "base.hpp"', "in quotes"),
    ("include/hone/misc/x.hpp", "", "no place in the layer order"),
    ("include/hone/core/x.hpp", "#include <fmt/format.h>", "fmt may be included by"),
    ("include/hone/text/x.hpp", "#include <nlohmann/json.hpp>", "nlohmann/json may be included by"),
    ("include/hone/io/x.hpp", "#include <pcre2.h>", "PCRE2 may be included by"),
    ("include/hone/core/x.hpp", "#include <cuda_runtime.h>", "CUDA headers may be included by"),
    ("include/hone/core/x.hpp", "#include <doctest/doctest.h>", "no header only"),
    ("include/hone/cpu/x.hpp", "#if defined(__AVX512F__)\n#endif", "instruction-set macro"),
    ("include/hone/cpu/x.hpp", "#define FAST 1", "macro outside"),
    ("include/hone/io/x.hpp", "inline void f(char* a, const char* b) { std::memcpy(a, b, 4); }", "byte_reader"),
    ("include/hone/io/x.hpp", "inline float* f(char* a) { return reinterpret_cast<float*>(a); }", "byte_reader"),
    ("cuda/hone/kernels/x.cuh", "inline void f() { kernel<<<1, 1>>>(); }", "kernel language"),
    ("cuda/hone/kernels/x.cuh", "#include <hone/autograd/base.hpp>", "cuda/kernels must not include autograd"),
    ("include/hone/core/x.hpp", "inline void f() { std::abort(); }", "never ends the program"),
    ("include/hone/core/x.hpp", "using namespace std;", "opens a namespace"),
    ("include/hone/core/x.hpp", "#include <hone/core/y.hpp>", "include cycle"),
]
GOOD = [
    ("include/hone/ops/x.hpp", "#include <hone/tensor/base.hpp>  // std::abort()\n/* #define A 1\nexit(1); */"),
    ("include/hone/ops/x.hpp", "#include <hone/cpu/base.hpp>"),
    ("include/hone/peft/x.hpp", "#include <hone/io/base.hpp>"),
    ("include/hone/io/byte_reader.hpp", "inline void f(char* a, const char* b) { std::memcpy(a, b, 4); }"),
    ("include/hone/core/x.hpp", 'inline const char* f() { return "#define exit( __AVX2__"; }'),
    ("cuda/hone/kernels/x.cuh", "#include <hone/tensor/base.hpp>\n#include <cuda_bf16.h>"),
]


def build_tree(root: pathlib.Path, path: str, text: str) -> None:
    for folder in [*RANK, "cpu", "io", "text", "emu"]:
        base = root / "include/hone" / folder / "base.hpp"
        base.parent.mkdir(parents=True, exist_ok=True)
        base.write_text("#pragma once\n")
    (root / "include/hone/engine.hpp").write_text("#pragma once\n#include <hone/core/base.hpp>\n")
    (root / "include/hone/core/y.hpp").write_text("#pragma once\n#include <hone/core/x.hpp>\n")
    (root / "include/hone/core/x.hpp").write_text("#pragma once\n")
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("#pragma once\n" + text + "\n")


def self_test() -> int:
    wrong = []
    for path, text, words in [*BROKEN, *((path, text, None) for path, text in GOOD)]:
        with tempfile.TemporaryDirectory() as folder:
            build_tree(pathlib.Path(folder), path, text)
            found = check(pathlib.Path(folder))
        if words is None and found:
            wrong.append(f"allowed, but found fault with: {text!r}: {found}")
        if words is not None and not any(words in sentence and path in sentence for sentence in found) and not (
                words == "include cycle" and any(words in sentence for sentence in found)):
            wrong.append(f"not caught ({words}): {text!r} in {path}: {found}")
    print("\n".join(wrong) or f"check_layers: {len(BROKEN)} broken and {len(GOOD)} good snippets told apart")
    return 1 if wrong else 0


def main() -> int:
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    if len(sys.argv) > 1:
        print(__doc__)
        return 2
    found = check(ROOT)
    print("\n".join(found) or f"check_layers: {sum(1 for _ in headers(ROOT))} headers keep the order")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
