#!/usr/bin/env python3
"""Stamps out a new op: three files and their tests.

    tools/new_op.py NAME        NAME in snake_case: tools/new_op.py gelu

    include/hone/ops/NAME.hpp        the op: equation, checks, forward, backward
    include/hone/cpu/NAME.hpp        its kernels on the processor
    cuda/hone/kernels/NAME.cuh       its kernels for CUDA and the emulator
    cuda/compile/NAME.cu             what nvcc compiles of it where there is no card
    tests/ops/test_NAME.cpp          values, gradients, refusals
    tests/kernels/test_NAME.cpp      every device against fp64

All of it compiles at once. The op is y = x, elementwise, with a backward that is wrong on purpose: its gradcheck fails
until the formulas are filled in. The umbrella headers are written anew; CMake finds the tests by itself.
"""
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TEMPLATES = pathlib.Path(__file__).resolve().parent / "new_op"
FILES = {
    "op.hpp.in": "include/hone/ops/{}.hpp",
    "cpu.hpp.in": "include/hone/cpu/{}.hpp",
    "kernel.cuh.in": "cuda/hone/kernels/{}.cuh",
    "compile.cu.in": "cuda/compile/{}.cu",
    "test_op.cpp.in": "tests/ops/test_{}.cpp",
    "test_kernel.cpp.in": "tests/kernels/test_{}.cpp",
}
# Words that snake_case allows and C++ keeps for itself.
KEYWORDS = set("""alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl concept const
consteval constexpr constinit continue co_await co_return co_yield decltype default delete do double else enum explicit
export extern false float for friend goto if inline int long mutable namespace new noexcept not not_eq nullptr operator
or or_eq private protected public register requires return short signed sizeof static struct switch template this throw
true try typedef typeid typename union unsigned using virtual void volatile wchar_t while xor xor_eq""".split())


def taken(name: str) -> str:
    """Where hone's headers use the name already as a function, type or namespace; empty when they do not."""
    use = re.compile(rf"\b{name}\s*\(|\b(?:struct|class|enum|namespace)\s+{name}\b|\busing\s+{name}\b")
    for path in sorted([*ROOT.glob("include/hone/**/*.hpp"), *ROOT.glob("cuda/hone/**/*.*h")]):
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
            if use.search(line.split("//")[0]):
                return f"{path.relative_to(ROOT)}:{number}"
    return ""


def refuse(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        sys.exit(f"new_op: '{name}' is not a name in snake_case, such as gelu or leaky_gate")
    if name in KEYWORDS:
        sys.exit(f"new_op: '{name}' is a word of C++")
    for path in (target.format(name) for target in FILES.values()):
        if (ROOT / path).exists():
            sys.exit(f"new_op: {path} is there already; nothing was written")
    if place := taken(name):
        sys.exit(f"new_op: the name '{name}' is taken, see {place}; nothing was written")


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    name = sys.argv[1]
    refuse(name)
    camel = "".join(word.capitalize() for word in name.split("_"))
    for template, target in FILES.items():
        text = (TEMPLATES / template).read_text(encoding="utf-8")
        (ROOT / target.format(name)).write_text(text.replace("@name@", name).replace("@Name@", camel), encoding="utf-8")
        print(f"wrote {target.format(name)}")
    if formatter := shutil.which("clang-format"):  # line breaks depend on how long the name is
        written = [str(ROOT / target.format(name)) for target in FILES.values()]
        subprocess.run([formatter, "-i", "--fallback-style=none", *written], check=True)
    subprocess.run([sys.executable, str(ROOT / "tools/sync.py")], check=True)
    print(f"Now: write the equations of {name} and fill in {name}_of and {name}_gradient in both kernel files and the "
          f"reference in tests/ops/test_{name}.cpp,\nand run tools/test; where nvcc is, tools/kernel_resources.py {name} writes "
          f"down its registers.")


if __name__ == "__main__":
    main()
