#!/usr/bin/env python3
"""Runs a doctest program one source file at a time in several processes, and counts what happened.

    run_tests.py --program build/tests/hone_tests [--jobs 2] [--counts FILE] [--skips FILE] [doctest filters]

A test that cannot run here prints a line `SKIP name: why` and counts as skipped. A process that ends without doctest's own
summary (a crash, a time limit) counts every test of its file as failed.
"""
import argparse
import concurrent.futures
import json
import pathlib
import re
import subprocess
import sys
import time
import xml.etree.ElementTree

SUMMARY = re.compile(r"^\[doctest\] test cases:\s*(\d+) \|\s*(\d+) passed \|\s*(\d+) failed", re.M)
SKIP = re.compile(r"^SKIP (.+?): (.+)$", re.M)


def tests_by_file(command: list, filters: list) -> dict:
    listing = subprocess.run([*command, "--list-test-cases", "-r=xml", *filters], check=True, capture_output=True, text=True)
    files: dict = {}
    for case in xml.etree.ElementTree.fromstring(listing.stdout).iter("TestCase"):
        files.setdefault(case.get("filename"), []).append(case.get("name"))
    return files


def run_file(command: list, name: str, filters: list, limit: int) -> tuple:
    start = time.monotonic()
    try:
        done = subprocess.run([*command, "--no-colors", "--no-version", f"-sf={name}", *filters], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=limit, stdin=subprocess.DEVNULL, check=False)
        code, output = done.returncode, done.stdout.decode("utf-8", "replace")
    except subprocess.TimeoutExpired as late:
        code, output = 1, (late.stdout or b"").decode("utf-8", "replace") + f"\nstopped after {limit} s\n"
    return code, output, time.monotonic() - start


def recorded_times(path: pathlib.Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


class Totals:
    def __init__(self) -> None:
        self.passed = self.failed = 0
        self.skips: list = []
        self.times: dict = {}

    def add(self, name: str, cases: list, result: tuple) -> None:
        code, output, seconds = result
        self.times[name] = seconds
        skips = sorted(set(SKIP.findall(output)))
        self.skips += [f"{test}: {why}" for test, why in skips]
        summary = SUMMARY.search(output)
        if summary:
            ran, passed, failed = (int(number) for number in summary.groups())
            passed -= min(passed, len(skips))
            failed = failed if ran == len(cases) else failed + abs(len(cases) - ran)
        else:
            passed, failed = 0, len(cases)
        if code != 0 and failed == 0:
            failed = 1
        self.passed += passed
        self.failed += failed
        print(f"{'ok  ' if failed == 0 else 'FAIL'} {seconds:6.1f} s {passed:4d} passed  {name}", flush=True)
        if failed:
            print(output, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, help="the test program, with an emulator before it where one is needed")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--limit", type=int, default=900, help="seconds a source file's tests may take")
    parser.add_argument("--counts")
    parser.add_argument("--skips")
    options, filters = parser.parse_known_args()
    command = options.program.split()
    files = tests_by_file(command, filters)
    if not files:
        print("no test matches the filters")
        return 1
    history = pathlib.Path(command[-1]).parent / "test_times.json"
    known = recorded_times(history)
    totals = Totals()
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:  # longest first, so that the last one is short
        order = sorted(files, key=lambda name: -known.get(name, 1e9))
        waiting = {pool.submit(run_file, command, name, filters, options.limit): name for name in order}
        for future in concurrent.futures.as_completed(waiting):
            totals.add(waiting[future], files[waiting[future]], future.result())
    history.write_text(json.dumps({**known, **totals.times}))
    if options.counts:
        pathlib.Path(options.counts).write_text(f"{totals.passed} {totals.failed} {len(totals.skips)}\n")
    if options.skips:
        pathlib.Path(options.skips).write_text("".join(line + "\n" for line in totals.skips))
    print(f"{totals.passed} passed, {totals.failed} failed, {len(totals.skips)} skipped")
    return 1 if totals.failed else 0


if __name__ == "__main__":
    sys.exit(main())
