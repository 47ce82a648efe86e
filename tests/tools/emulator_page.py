#!/usr/bin/env python3
"""docs/emulator.md shows what its commands print: each is run again in a folder beside the tree, the sessions of gdb too
where gdb is installed.

    tests/tools/emulator_page.py           exit code 1 when an output differs
    tests/tools/emulator_page.py --write   puts what was printed on the page
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "emulator.md"


def printed_by(command: str, lines: list, folder: str) -> list:
    """What a command prints; of a session of gdb its prompts as well, and of the answers those that have a number."""
    if not command.startswith("gdb "):
        done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{PAGE.name}: `{command}` failed\n{done.stderr}")
        return done.stdout.splitlines()
    prompts = [line for line in lines if line.startswith("(gdb) ")]
    session = ["set confirm off", "set pagination off", *[line[6:] for line in prompts], "kill"]
    arguments = [word for line in session for word in ("-ex", line)]
    done = subprocess.run([*command.split(), "-batch", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    answers = iter(re.findall(r"^\$\d+ = .*", done.stdout, flags=re.M))
    out = []
    for line in prompts:
        out.append(line)
        if line.startswith("(gdb) print "):
            out.append(next(answers, "nothing"))
    return out


def renewed(block: str, folder: str) -> str:
    """A fenced block with what its commands print now."""
    out = []
    for part in filter(None, re.split(r"^(?=\$ )", block, flags=re.M)):
        command, *lines = part.splitlines()
        if not command.startswith("$ "):
            return block
        if command.startswith("$ gdb ") and shutil.which("gdb") is None:
            print("skipped: gdb is not installed")
            out += [command, *lines]
        else:
            out += [command, *printed_by(command[2:], lines, folder)]
    return "\n".join(out) + "\n"


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        for name in ("include", "cuda", "examples"):
            (pathlib.Path(folder) / name).symlink_to(ROOT / name)
        now = re.sub(r"^```\n(.*?)^```", lambda found: f"```\n{renewed(found[1], folder)}```", text, flags=re.M | re.S)
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(now, encoding="utf-8")
    elif now != text:
        differs = [f"page: {a}\nnow:  {b}" for a, b in zip(text.splitlines(), now.splitlines()) if a != b]
        sys.exit("\n".join([f"{PAGE.name} does not show what its commands print:", *differs[:20]]))


if __name__ == "__main__":
    main()
