"""Every header compiles alone."""

import concurrent.futures
import pathlib
import subprocess
import sys

SRC = pathlib.Path(__file__).resolve().parent.parent.parent / "src"


def check(header):
    text = f'#include "{header.relative_to(SRC)}"\n'
    done = subprocess.run(["gcc", "-std=c17", "-D_GNU_SOURCE", "-I", str(SRC), "-I/usr/include/postgresql",
                           "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-xc", "-"],
                          input=text, text=True, capture_output=True)
    return "" if done.returncode == 0 else f"{header.relative_to(SRC)}:\n{done.stderr}"


with concurrent.futures.ThreadPoolExecutor(2) as pool:
    problems = [p for p in pool.map(check, sorted(SRC.rglob("*.h"))) if p]
print("\n".join(problems) or "all headers compile alone")
sys.exit(1 if problems else 0)
