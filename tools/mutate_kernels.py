#!/usr/bin/env python3
"""Breaks the kernels on purpose, one place at a time, and sees whether their tests on the emulator notice.

    tools/mutate_kernels.py                  every file of cuda/hone/kernels and cuda/hone/prim
    tools/mutate_kernels.py swiglu matmul    these
    tools/mutate_kernels.py --list swiglu    prints the mutants and runs nothing
    tools/mutate_kernels.py --write ...      also writes bench/results/mutations.md

A mutant drops one call that orders threads or copies (barrier, wait, commit, device_check), lets one wait leave a group
more under way, drops the condition of one `if`, moves one bound by one, or takes one lane out of a mask. All mutants stand
in one build of a kernel's tests, each behind `HONE_MUTANT == number`, so that a mutant costs a run and not a compilation.
Exit code 1 when one survives that tests/kernels/redundant_mutants.txt does not list with its reason.
"""
import argparse
import collections
import concurrent.futures
import dataclasses
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCES = ROOT / "cuda" / "hone"
TESTS = ROOT / "tests" / "kernels"
REDUNDANT = TESTS / "redundant_mutants.txt"
REPORT = ROOT / "bench" / "results" / "mutations.md"

SWITCH = """#pragma once
#include <cstdlib>
inline int hone_mutant() {
  static const int wanted = std::getenv("HONE_MUTANT") ? std::atoi(std::getenv("HONE_MUTANT")) : -1;
  return wanted;
}
#define MUTATED(number) (hone_mutant() == (number))
"""

# Calls that return nothing and whose only purpose is order or a check.
ORDERING = r"__syncthreads|__syncwarp|\w*barrier\w*|async_(?:commit|wait)|\w*_fence|\w*_(?:commit|wait)|device_check"
FOUND_BY = [  # the first pattern that a failing run's output shows names what noticed
    ("address sanitizer", r"AddressSanitizer"),
    ("barrier or collective rule", r"divergent barrier|deadlock|livelock|which must name itself|not in mask"),
    ("copy under way at the end", r"nobody waited for"),
    ("other rule of the emulator", r"\[emu\]"),
    ("thread order shows", r"depends on the order of threads"),
    ("wrong numbers", r"ERROR|FAILURE|FAILED"),
]


@dataclasses.dataclass
class Mutant:
    file: str  # below cuda/hone
    line: int
    code: str  # the line, stripped
    what: str
    inserts: list  # (position, text)
    number: int = 0
    found_by: str = ""

    def key(self) -> tuple:
        return (self.file, self.code, self.what)


def blank(text: str) -> str:
    """The text with comments, strings, preprocessor lines and what only nvcc sees blanked out, at the same positions."""
    keep = list(text)

    def wipe(begin: int, end: int) -> None:
        for at in range(begin, end):
            if keep[at] != "\n":
                keep[at] = " "

    for found in re.finditer(r'//[^\n]*|"(?:\\.|[^"\\\n])*"', text):
        wipe(*found.span())
    nvcc_only, position = [], 0
    for line in text.splitlines(keepends=True):
        if line.startswith("#if"):
            nvcc_only.append(re.match(r"#if defined\(__CUDACC__\)", line) is not None)
        elif line.startswith("#else"):
            nvcc_only[-1] = False
        elif line.startswith("#endif"):
            nvcc_only.pop()
        if line.startswith("#") or any(nvcc_only):
            wipe(position, position + len(line))
        position += len(line)
    return "".join(keep)


def closing(text: str, at: int) -> int:
    """The position of what closes the bracket at `at`."""
    pairs, depth = {"(": ")", "{": "}"}, 0
    for end in range(at, len(text)):
        depth += {text[at]: 1, pairs[text[at]]: -1}.get(text[end], 0)
        if depth == 0:
            return end
    raise ValueError("a bracket is not closed")


def device_code(text: str) -> list:
    """(begin, end) of the bodies of functions that run on the device. Functions of the emulator's half of a prim/ header
    carry no qualifier; they take a `Where where`."""
    bodies, end = [], 0
    for found in re.finditer(r"__device__|__global__|\bWhere where\b", text):
        if found.start() < end:
            continue
        begin, depth = found.end(), 0
        while begin < len(text) and not (text[begin] in "{;" and depth <= 0):
            depth += {"(": 1, ")": -1}.get(text[begin], 0)
            begin += 1
        head = text[text.rfind("\n\n", 0, found.start()) + 1:begin]
        if begin == len(text) or text[begin] == ";" or "constexpr" in head:
            continue
        end = closing(text, begin)
        bodies.append((begin, end))
    return bodies


def mutants_of(path: pathlib.Path) -> list:
    original = path.read_text(encoding="utf-8")
    text, found = blank(original), []

    def add(at: int, what: str, *inserts) -> None:
        line = original.count("\n", 0, at) + 1
        code = original.splitlines()[line - 1].strip()
        if not re.search(r"constexpr|static_assert|requires", code):
            found.append(Mutant(str(path.relative_to(SOURCES)), line, code, what, list(inserts)))

    for begin, end in device_code(text):
        body = text[begin:end]
        for call in re.finditer(rf"(?<=[;{{}})\n])(\s*)((?:{ORDERING})(?:<([^<>();]*)>)?)\(", body):
            at, last = begin + call.start(2), closing(text, begin + call.end() - 1) + 1
            add(at, "call dropped", (at, "(MUTATED(@) ? (void)0 : "), (last, ")"))
            if call[3] is not None and call[3].isdigit():
                weaker = text[at:last].replace(f"<{call[3]}>", f"<{int(call[3]) + 1}>")
                add(at, "wait weakened", (at, f"(MUTATED(@) ? {weaker} : "), (last, ")"))
        for guard in re.finditer(r"\bif \(", body):
            at = begin + guard.end() - 1
            last = closing(text, at)
            leaves = re.match(r"\)\s*(?:return|continue|break)\b", text[last:last + 20])
            at += text[at:last].rfind(";") + 1 if ";" in text[at:last] else 1  # past `if (int i = ..;`
            add(begin + guard.start(), "condition dropped",
                (at, "!MUTATED(@) && (" if leaves else "MUTATED(@) || ("), (last, ")"))
        for bound in re.finditer(r" (<|>=|<=|>) (?=[\w(*&:-])", body):
            sign = {"<": "", "<=": "", ">=": "", ">": "-"}[bound[1]]
            # The second one of a line is told apart from the first.
            before = text[text.rfind("\n", 0, begin + bound.start()):begin + bound.start()].count(f" {bound[1]} ")
            which = f"{bound[1]} {before + 1}" if before else bound[1]
            add(begin + bound.start() + 1, f"bound moved ({which})", (begin + bound.end(), f"{sign}MUTATED(@) + "))
        for mask in re.finditer(r"\bfull_warp\b|\b0x[0-9a-f]{2,8}u\b", body):
            add(begin + mask.start(), "mask narrowed", (begin + mask.start(), "(MUTATED(@) ? 0x7fffffffu : ~0u) & "))
    return found


def tests_of(kernel: str, test: str) -> bool:
    """test_attention is the test of attention_forward, test_rope that of qk_norm_rope."""
    return kernel == test or kernel.startswith(f"{test}_") or kernel.endswith(f"_{test}")


def write_overlay(folder: pathlib.Path, mutants: list) -> None:
    """The mutated files, which shadow those of cuda/ by standing first on the include path."""
    (folder / "mutants.hpp").write_text(SWITCH, encoding="utf-8")
    for name in {mutant.file for mutant in mutants}:
        text = (SOURCES / name).read_text(encoding="utf-8")
        inserts = [(at, order, words.replace("@", str(mutant.number))) for mutant in mutants if mutant.file == name
                   for order, (at, words) in enumerate(mutant.inserts)]
        for at, _, words in sorted(inserts, reverse=True):
            text = text[:at] + words + text[at:]
        target = folder / "hone" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def reached(source: pathlib.Path, seen: set) -> set:
    """The files of cuda/hone that a test includes, directly or not."""
    for name in re.findall(r"#include <hone/((?:kernels|prim|device|study)/[^>]+)>", source.read_text(encoding="utf-8")):
        if name not in seen and (SOURCES / name).exists():
            seen.add(name)
            reached(SOURCES / name, seen)
    return seen


def command(arguments: list, **more) -> subprocess.CompletedProcess:
    return subprocess.run([str(a) for a in arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", check=False, **more)


def build(folder: pathlib.Path, tests: list, jobs: int) -> None:
    flags = ["g++", "-std=c++20", "-O1", "-w", "-fsanitize=address", "-fno-omit-frame-pointer",
             f'-DHONE_SOURCE_DIR="{ROOT}"', f"-I{folder}", f"-I{ROOT}/include", f"-I{ROOT}/cuda", f"-I{ROOT}/tests"]

    def compile_one(test: pathlib.Path) -> None:
        switch = [] if test.name == "main.cpp" else ["-include", folder / "mutants.hpp"]
        done = command([*flags, *switch, "-c", test, "-o", folder / (test.stem + ".o")])
        if done.returncode != 0:
            sys.exit(f"{test}:\n{done.stdout[:4000]}")

    main_program = [] if (folder / "main.o").exists() else [ROOT / "tests" / "main.cpp"]
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        list(pool.map(compile_one, [*main_program, *tests]))
    for test in tests:
        done = command([*flags, folder / "main.o", folder / (test.stem + ".o"), "-o", folder / test.stem,
                        "-lboost_context", "-lpthread"])
        if done.returncode != 0:
            sys.exit(f"{test}:\n{done.stdout[:4000]}")


def noticed(folder: pathlib.Path, test: pathlib.Path, number: int, limit_seconds: float) -> str:
    """What the run of a test with this mutant switched on ran into; empty when it passed."""
    environment = dict(os.environ, HONE_MUTANT=str(number), ASAN_OPTIONS="detect_leaks=0")
    try:
        done = command([folder / test.stem, "--abort-after=1"], env=environment, timeout=limit_seconds)
    except subprocess.TimeoutExpired:
        return "never ends"
    if done.returncode == 0:
        return ""
    return next((name for name, pattern in FOUND_BY if re.search(pattern, done.stdout)), f"exit code {done.returncode}")


def run_tests(folder: pathlib.Path, tests: set, mutants: list, includes: dict, jobs: int) -> None:
    """Builds the tests and lets each meet the mutants of the files it includes, until one notices."""
    tests = sorted(tests)
    if not tests:
        return
    print(f"{len(mutants)} mutants against {', '.join(test.stem for test in tests)}", flush=True)
    build(folder, tests, jobs)
    limits = {}
    for test in tests:
        begin = time.time()
        if found := noticed(folder, test, -1, 600):
            sys.exit(f"{test.name} fails without any mutant: {found}")
        limits[test] = 10 + 5 * (time.time() - begin)

    def hunt(mutant: Mutant) -> None:
        for test in tests:
            if mutant.file in includes[test] and not mutant.found_by:
                mutant.found_by = noticed(folder, test, mutant.number, limits[test])

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        list(pool.map(hunt, mutants))


def read_redundant() -> dict:
    """(file, code, what) -> reason. Four lines a mutant: file, code, what was done to it, why that changes nothing."""
    entries = {}
    if REDUNDANT.exists():
        for block in re.sub(r"(?m)^#.*\n", "", REDUNDANT.read_text(encoding="utf-8")).split("\n\n"):
            lines = block.strip().split("\n")
            if len(lines) >= 4:
                entries[tuple(lines[:3])] = " ".join(lines[3:])
    return entries


def report(mutants: list, redundant: dict) -> str:
    kinds = [name for name, _ in FOUND_BY] + ["never ends"]
    rows = collections.defaultdict(list)
    for mutant in mutants:
        rows[mutant.file].append(mutant)
    text = ["# Mutants of the CUDA kernels",
            "",
            "Written by `tools/mutate_kernels.py --write`: every barrier, wait, mask, check, condition and bound in the device "
            "code of these files, dropped or weakened one at a time, and what noticed when the tests of the kernel ran on the "
            "emulator (three thread orders, poisoned memory, address sanitizer). A mutant is counted under the first thing "
            "that stopped its test.",
            "",
            "| file | mutants | " + " | ".join(kinds) + " | redundant | survived |",
            "|---|---:|" + "---:|" * (len(kinds) + 2)]
    for name, group in sorted(rows.items()):
        of = collections.Counter(m.found_by for m in group)
        listed = sum(1 for m in group if not m.found_by and m.key() in redundant)
        other = sum(count for found, count in of.items() if found and found not in kinds)
        cells = [of[kind] + (other if kind == "wrong numbers" else 0) for kind in kinds]
        text.append(f"| {name} | {len(group)} | " + " | ".join(str(c) if c else "" for c in cells)
                    + f" | {listed or ''} | {of[''] - listed or ''} |")
    text += ["", "## Redundant", "", "Not noticed because nothing can go wrong; the reasons stand in "
             "`tests/kernels/redundant_mutants.txt`.", ""]
    for mutant in mutants:
        if not mutant.found_by and mutant.key() in redundant:
            text.append(f"- {mutant.file}: `{mutant.code}` ({mutant.what}): {redundant[mutant.key()]}")
    return "\n".join(text) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="file names without .cuh; all when none is given")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    files = sorted(path for part in ("kernels", "prim", "study") for path in (SOURCES / part).rglob("*.cuh"))
    unknown = set(arguments.names) - {path.stem for path in files}
    if unknown:
        sys.exit(f"no kernel file is called {', '.join(sorted(unknown))}")
    files = [path for path in files if not arguments.names or path.stem in arguments.names]
    mutants = [mutant for path in files for mutant in mutants_of(path)]
    for number, mutant in enumerate(mutants):
        mutant.number = number
        if arguments.list:
            print(f"{mutant.file}:{mutant.line}: {mutant.what}: {mutant.code}")
    if arguments.list:
        return
    includes = {test: reached(test, set()) for test in sorted(TESTS.glob("test_*.cpp"))
                if "ops_on_emu" not in test.name}  # every op at once: minutes a mutant
    redundant = read_redundant()
    begin = time.time()
    with tempfile.TemporaryDirectory(prefix="hone_mutants_") as name:
        folder = pathlib.Path(name)
        write_overlay(folder, mutants)
        # A file's own test first; what survives it, and is not listed, meets the tests of the files that include it.
        own = {test for test in includes for path in files if tests_of(path.stem, test.stem.removeprefix("test_"))}
        run_tests(folder, own, mutants, includes, arguments.jobs)
        left = [m for m in mutants if not m.found_by and m.key() not in redundant]
        run_tests(folder, {test for test in includes if any(m.file in includes[test] for m in left)} - own, left, includes,
                  arguments.jobs)
    for mutant in mutants:
        if not mutant.found_by:
            verdict = "redundant" if mutant.key() in redundant else "SURVIVED"
            print(f"  {verdict}: {mutant.file}:{mutant.line}: {mutant.what}: {mutant.code}", flush=True)
    survived = [m for m in mutants if not m.found_by and m.key() not in redundant]
    for key in redundant:
        if key[0] in {m.file for m in mutants} and not any(not m.found_by and m.key() == key for m in mutants):
            print(f"  not redundant any more, or gone: {' | '.join(key)}")
    print(f"{len(mutants)} mutants, {sum(bool(m.found_by) for m in mutants)} noticed, {len(survived)} survived, "
          f"{time.time() - begin:.0f} s")
    if arguments.write:
        REPORT.write_text(report(mutants, redundant), encoding="utf-8")
    sys.exit(1 if survived else 0)


if __name__ == "__main__":
    main()
