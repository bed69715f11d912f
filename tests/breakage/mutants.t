#!/usr/bin/env python3
# Makes every change to src/ that cargo-mutants knows (another operator, another return
# value, one match arm less), one at a time in a copy of the tree, and runs the C tests and
# the unit tests until one fails. If none fails, the mutant survives: a test is missing,
# unless UNSEEN says why no test on this machine can see the change.
#
# MUTANTS="TEXT" in the environment: only those with that text in their name.
# Not in make check-all: it takes half an hour (time limit: 7200 s).

import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

VERSION = "27.1.0"  # of cargo-mutants
WORKERS = os.cpu_count() or 1
FIRST = ["simulated_kernel", "messages", "message_errors", "arguments"]  # they see most

# Changes without an effect, by their name without its line.
UNSEEN = {
    "src/ffi.rs: replace | with ^": "of flags that have no bit in common",
    "src/ffi.rs: replace > with == in require_array": "int cannot say that on 64 bits",
    "src/ffi.rs: replace > with >= in require_array": "the same",
    "src/ffi.rs: replace / with * in require_array": "the same",
    "src/ffi.rs: replace > with >= in byte_count": "no memory is that long",
    "src/ffi.rs: delete - in receive_one": "written over by every receive that succeeds",
    "src/ffi.rs: replace < with <= in receive_one": "a receive that succeeds returns 1",
    "src/recv.rs: replace usual -> u32 with 0": "the other path does the same, slower",
    "src/recv.rs: replace & with | in usual": "the same",
    "src/recv.rs: replace & with ^ in usual": "the same",
    "src/recv.rs: replace match guard whole && fit(slots) && !cmsg::any_refused(slots) "
    "with false in usual": "the same",
    "src/recv.rs: replace | with ^ in usual": "of flags that have no bit in common",
    "src/sys.rs: replace && with || in move_message": "its caller passes what is in the buffer",
}


class Tree:
    """A copy of the tree, in which one change after the other is made."""

    def __init__(self, directory):
        self.top = pathlib.Path(directory)
        shutil.copytree(".", self.top, symlinks=True, ignore=shutil.ignore_patterns(
            ".git", "build", "target"))
        tests = [path.stem for path in sorted(pathlib.Path("c_tests").glob("*.c"))
                 if "\nint main" in path.read_text()]
        self.tests = FIRST + [test for test in tests if test not in FIRST]
        self.environment = dict(os.environ, O="build", TAP_TIMEOUT="30", REQUIRE_ALL="0")
        for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
            self.environment.pop(name, None)

    def fails(self, *command):
        """Whether it fails; a mutant may fail by hanging."""
        try:
            return subprocess.run(command, cwd=self.top, env=self.environment, timeout=600,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL).returncode != 0
        except subprocess.TimeoutExpired:
            return True

    def cannot_build(self, target):
        return self.fails("make", "-s", "O=build", target)

    def what_notices(self):
        """The first test that fails, or None."""
        for test in self.tests:
            program = f"build/c_tests/static/{test}"
            if self.cannot_build(program) or self.fails(program):
                return test
        return "unit_tests" if self.fails("tests/model/unit_tests.t") else None

    def try_mutant(self, mutant):
        """What became of it: "unbuilt", the test that notices it, or None."""
        source = self.top / mutant["file"]
        whole = source.read_text()
        try:
            subprocess.run(["patch", "-s", source], input=mutant["diff"], text=True, check=True)
            return "unbuilt" if self.cannot_build("all") else self.what_notices()
        finally:
            source.write_text(whole)


def cargo_mutants():
    """The program, installed below O unless this machine has it."""
    tools = pathlib.Path(os.environ["O"], "tools").absolute()
    os.environ["PATH"] = f"{tools / 'bin'}:{os.environ['PATH']}"
    if not shutil.which("cargo-mutants"):
        print("# installing cargo-mutants below", tools, flush=True)
        subprocess.run(["cargo", "install", "cargo-mutants", "--version", VERSION, "--locked",
                        "--quiet", "--root", tools], check=True)
    return ["cargo-mutants", "mutants"]


def name_without_line(mutant):
    place, change = mutant["name"].split(": ", 1)
    return f"{place.split(':')[0]}: {change}"


def main():
    listed = subprocess.run([*cargo_mutants(), "--list", "--json", "--diff"], check=True,
                            stdout=subprocess.PIPE).stdout
    chosen = os.environ.get("MUTANTS", "")
    mutants = [mutant for mutant in json.loads(listed) if chosen in mutant["name"]]
    counts = {"unbuilt": 0, "noticed": 0, "unseen": 0}
    failures = 0
    with tempfile.TemporaryDirectory() as scratch:
        trees = [Tree(f"{scratch}/{worker}") for worker in range(WORKERS)]
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            print(f"1..{len(mutants) + 1}", flush=True)
            before = list(pool.map(Tree.what_notices, trees))
            print("not ok" if any(before) else "ok", "1 - unchanged, nothing fails")
            if any(before):
                print("#", before)
                return 1

            def try_one(mutant):
                tree = trees.pop()
                try:
                    return mutant, tree.try_mutant(mutant)
                finally:
                    trees.append(tree)

            for number, (mutant, noticed) in enumerate(pool.map(try_one, mutants), 2):
                why = UNSEEN.get(name_without_line(mutant))
                counts["unbuilt" if noticed == "unbuilt" else
                       "noticed" if noticed else "unseen"] += 1
                survives = not noticed and not why
                failures += survives
                print("not ok" if survives else "ok", number, "-", mutant["name"].replace("#", ""),
                      f"({noticed or why or 'no test notices'})", flush=True)
    print("# {noticed} noticed, {unseen} not, {unbuilt} do not build".format(**counts))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
