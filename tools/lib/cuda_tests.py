#!/usr/bin/env python3
"""Turns the tests of kernels into tests of a card.

    tools/lib/cuda_tests.py FOLDER     writes FOLDER/test_<name>.cu for tests/kernels/test_<name>.cpp, and prints the names

A test body is written once, over Cpu and Emu, and compiled by g++. What nvcc gets is the same file with Cuda for Emu, less
the cases that are about the emulator: those that name its counters or settings, make a default device, replace entries of
its table, or expect "an error on Emu" of a kernel (a card would trap, and be lost to the process). Cases begin at TEST_CASE
and end at a brace, both in the first column, as clang-format leaves them. Headers called *_on_emu.hpp come along. Files that
have not changed are not written again.
"""
import pathlib
import re
import sys

TESTS = pathlib.Path(__file__).resolve().parent.parent.parent / "tests/kernels"
# The emulator's table, and primitives by kernels of their own.
LEFT_OUT = {"test_driver.cpp", "test_prim.cpp", "test_bulk_prim.cpp"}
EMULATOR = re.compile(r"\bemulator::|^  (?:const )?Emu \w+;|\bGemmLibrary\b|\bFaults\b|an error on Emu", flags=re.M)
CASE = re.compile(r"^TEST_CASE.*?^}\n", flags=re.M | re.S)


def for_card(text: str) -> str:
    kept = CASE.sub(lambda match: "" if EMULATOR.search(match.group(0)) else match.group(0), text)
    return re.sub(r"\bEmu\b", "Cuda", kept)


def write(target: pathlib.Path, text: str) -> None:
    if not target.exists() or target.read_text(encoding="utf-8") != text:
        target.write_text(text, encoding="utf-8")


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for path in TESTS.glob("*_on_emu.hpp"):
        write(folder / path.name, for_card(path.read_text(encoding="utf-8")))
    for path in sorted(TESTS.glob("test_*.cpp")):
        if path.name in LEFT_OUT:
            continue
        text = for_card(path.read_text(encoding="utf-8"))
        if "TEST_CASE" not in text:
            continue
        write(folder / f"{path.stem}.cu", text)
        print(folder / f"{path.stem}.cu")
    return 0


if __name__ == "__main__":
    sys.exit(main())
