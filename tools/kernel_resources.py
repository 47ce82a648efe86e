#!/usr/bin/env python3
"""Compiles every kernel for cards with nvcc, each of cuda/compile in its own run, and guards what it became.

    tools/kernel_resources.py [NAME..]          writes cuda/registers.json: registers, spills and stack by architecture;
                                                with names only the kernels of cuda/compile/NAME.cu are renewed
    tools/kernel_resources.py --check [NAME..]  exit code 1 when a kernel needs more registers than the file says, is not
                                                in it, keeps anything in local memory, or lacks an instruction that
                                                cuda/demands.json asks of it (16-byte loads, tensor cores)
    tools/kernel_resources.py --self-test       breaks those rules in kernels of its own: each must be reported

Instructions are read from the PTX; registers, spills and stack are ptxas's. Warnings are errors. `hone bench kernels
--emu` prints the registers beside what the emulator counts. Needs nvcc and c++filt.
"""
import argparse
import collections
import concurrent.futures
import fnmatch
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCES = ROOT / "cuda" / "compile"
TABLE = ROOT / "cuda" / "registers.json"
DEMANDS = ROOT / "cuda" / "demands.json"
SPOILT = ROOT / "tests" / "compile" / "spoilt_kernels.cu"
ARCHITECTURES = ["sm_80", "sm_90a"]

# Instructions of PTX, by the words that cuda/demands.json has for them. cp.async.cg moves 16 bytes and nothing else.
INSTRUCTIONS = {
    "16-byte loads": r"\bld\.[\w.]*global[\w.:]*\.(?:v4\.[bfus]32|v2\.[bfus]64)\b",
    "16-byte stores": r"\bst\.[\w.]*global[\w.:]*\.(?:v4\.[bfus]32|v2\.[bfus]64)\b",
    "16-byte copies": r"\bcp\.async\.cg\.shared\.global\b",
    "tensor cores": r"\bmma\.sync\.aligned\b|\bwgmma\.mma_async\b",
    "wgmma": r"\bwgmma\.mma_async\b",
    "TMA": r"\bcp\.async\.bulk\.tensor\b",
}


def kernel_name(demangled: str) -> str:
    """`void hone::cuda::f_kernel<hone::bf16, 8>(hone::...)` -> `f_kernel<bf16, 8>`, as tools/hone/bench_kernels.cpp does."""
    depth = 0
    for end, letter in enumerate(demangled):
        depth += {"<": 1, ">": -1}.get(letter, 0)
        if letter == "(" and depth == 0:
            demangled = demangled[:end]
            break
    return re.sub(r"\b(hone|cuda)::", "", demangled.removeprefix("void "))


def demangled(text: str) -> str:
    return subprocess.run(["c++filt"], input=text, capture_output=True, text=True, check=True).stdout


def costs_of(report: str) -> dict:
    """What `ptxas -v` says: architecture -> kernel -> registers, spills, stack."""
    found, kernels, name = collections.defaultdict(dict), {}, ""
    for line in demangled(report).splitlines():
        if entry := re.search(r"Compiling entry function '(.*)' for '(\w+)'", line):
            kernels, name = found[entry[2]], kernel_name(entry[1])
        elif frame := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            stack, spills = int(frame[1]), int(frame[2]) + int(frame[3])
        elif used := re.search(r"Used (\d+) registers", line):
            kernels[name] = {"registers": int(used[1]), "spill_bytes": spills, "stack_bytes": stack}
    return found


def instructions_of(ptx: str) -> dict:
    """Kernel -> which of INSTRUCTIONS its PTX holds."""
    found = {}
    for body in re.split(r"^(?=[^\n]*\.entry )", ptx, flags=re.M)[1:]:
        name = re.search(r"\.entry (\w+)", body)[1]
        found[kernel_name(demangled(name).strip())] = [words for words, pattern in INSTRUCTIONS.items()
                                                       if re.search(pattern, body)]
    return found


def compile_one(nvcc: str, source: pathlib.Path) -> tuple:
    """(costs, instructions), both architecture -> kernel -> value."""
    instructions = {}
    with tempfile.TemporaryDirectory() as folder:
        targets = [f"-gencode=arch={name.replace('sm', 'compute')},code={name}" for name in ARCHITECTURES]
        command = [nvcc, "-std=c++20", *targets, f"-I{ROOT}/include", f"-I{ROOT}/cuda", "-Werror", "all-warnings",
                   "--resource-usage", "--keep", "--keep-dir", folder, "-c", str(source), "-o", f"{folder}/out.o"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}\n{done.stderr[:4000]}")
        if lines := re.findall(r".*wgmma.*(?:serialized|injected).*", demangled(done.stdout + done.stderr)):
            sys.exit("\n".join([f"{source.name}: ptxas makes products wait for one another:", *lines]))
        for name in ARCHITECTURES:
            ptx = pathlib.Path(folder) / f"{source.stem}.{name.replace('sm', 'compute')}.ptx"
            instructions[name] = instructions_of(ptx.read_text(encoding="utf-8"))
    return costs_of(done.stdout + done.stderr), instructions


def compile_all(nvcc: str, sources: list, jobs: int) -> tuple:
    costs, instructions = ({name: {} for name in ARCHITECTURES} for _ in range(2))
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for of_file in pool.map(lambda source: compile_one(nvcc, source), sources):
            for whole, part in zip((costs, instructions), of_file):
                for name in ARCHITECTURES:
                    whole[name] |= part[name]
    return costs, instructions


def complaints(costs: dict, instructions: dict, table: dict, demands: dict, everything: bool) -> list:
    """What the kernels must not be, as sentences. `everything`: all kernels are here, so a demand of none is stale."""
    found = []
    for architecture, kernels in costs.items():
        for name, cost in kernels.items():
            kept = cost["spill_bytes"] + cost["stack_bytes"]
            known = table.get(architecture, {}).get(name)
            if kept > 0:
                found.append(f"{architecture} {name}: {cost['stack_bytes']} bytes of stack and {cost['spill_bytes']} of "
                             "spills lie in local memory, wanted none")
            if known is None:
                found.append(f"{architecture} {name} is not in {TABLE.name}: run tools/kernel_resources.py")
            elif cost["registers"] > known["registers"]:
                found.append(f"{architecture} {name}: {cost['registers']} registers, {TABLE.name} says "
                             f"{known['registers']}; if that is meant, run tools/kernel_resources.py")
    for words, patterns in demands.items():
        for pattern in patterns:
            pattern, _, only = pattern.partition(" @ ")
            named = 0
            for architecture, kernels in instructions.items():
                for name, held in kernels.items():
                    if not fnmatch.fnmatchcase(name, pattern) or only not in ("", architecture):
                        continue
                    named += 1
                    if words not in held:
                        found.append(f"{architecture} {name}: its PTX has no {words}")
            if named == 0 and everything:
                found.append(f"{DEMANDS.name}: no kernel is called {pattern}, of which {words} are wanted")
    return found


def self_test(nvcc: str) -> None:
    """The kernels of SPOILT are called by what is wrong with them."""
    costs, instructions = compile_one(nvcc, SPOILT)
    table = {architecture: {name: {**cost, "registers": cost["registers"] - (name == "hungry_kernel")}
                            for name, cost in kernels.items() if name != "unknown_kernel"}
             for architecture, kernels in costs.items()}
    demands = {"16-byte loads": ["sound_kernel", "narrow_kernel"], "16-byte stores": ["sound_kernel"],
               "tensor cores": ["sound_kernel @ sm_80", "scalar_kernel", "no_such_kernel"]}
    said = complaints(costs, instructions, table, demands, True)
    wanted = {"local_kernel": "lie in local memory", "unknown_kernel": "is not in", "hungry_kernel": "registers.json says",
              "narrow_kernel": "has no 16-byte loads", "scalar_kernel": "has no tensor cores",
              "no_such_kernel": "no kernel is called"}
    missed = [name for name, words in wanted.items() if not any(name in line and words in line for line in said)]
    beside = [line for line in said if not any(name in line and words in line for name, words in wanted.items())]
    if missed or beside:
        sys.exit("\n".join([f"not noticed: {name}" for name in missed] + [f"said in vain: {line}" for line in beside]))
    print(f"self-test: {len(wanted)} faults, each reported")


def written(table: dict) -> str:
    rows = [f' "{architecture}": {{\n' + ",\n".join(f'  "{name}": {json.dumps(kernels[name])}' for name in sorted(kernels))
            + "\n }" for architecture, kernels in table.items()]
    return "{\n" + ",\n".join(rows) + "\n}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="files of cuda/compile without .cu; all when none is given")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    nvcc = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    if not pathlib.Path(nvcc).exists():
        sys.exit("nvcc is not installed")
    if arguments.self_test:
        return self_test(nvcc)
    sources = [SOURCES / f"{name}.cu" for name in arguments.names] or sorted(SOURCES.glob("*.cu"))
    if missing := [source for source in sources if not source.exists()]:
        sys.exit(f"there is no {missing[0]}")
    costs, instructions = compile_all(nvcc, sources, arguments.jobs)
    before = json.loads(TABLE.read_text(encoding="utf-8"))
    if arguments.check:
        demands = json.loads(DEMANDS.read_text(encoding="utf-8"))
        if said := complaints(costs, instructions, before, demands, not arguments.names):
            sys.exit("\n".join(said))
        print(f"{sum(map(len, costs.values()))} kernels of {len(sources)} files: no local memory, no more registers than "
              f"{TABLE.name} says, and what {DEMANDS.name} demands")
        return
    table = {name: (before.get(name, {}) if arguments.names else {}) | costs[name] for name in ARCHITECTURES}
    TABLE.write_text(written(table), encoding="utf-8")
    print(f"{TABLE.relative_to(ROOT)}: {len(table[ARCHITECTURES[0]])} kernels")


if __name__ == "__main__":
    main()
