"""A floor may use the floors below it, never one above, never a neighbour's private parts."""

import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
SRC = TOP / "src"
# Lowest first: the order in which src/meson.build builds them.
FLOORS = re.findall(r"subdir\('([^']+)'\)", (SRC / "meson.build").read_text())
# (floor, what it must not know although it stands lower).
APART = {("capture", "net"), ("encode", "net"), ("dest", "store"), ("meta", "store"), ("meta", "net"),
         ("delivery", "net"), ("engine", "net"), ("capture", "auth")}


def main():
    problems = []
    for path in sorted(SRC.rglob("*.[ch]")):
        own = path.relative_to(SRC).parts
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not found:
                continue
            used = found.group(1).split("/")
            where = f"{path.relative_to(TOP)}:{number}"
            if len(used) < 2 or used[0] not in FLOORS:
                problems.append(f"{where}: include \"{found.group(1)}\" by its path under src/")
                continue
            if FLOORS.index(used[0]) > FLOORS.index(own[0]):
                problems.append(f"{where}: {own[0]}/ may not use {used[0]}/, which is above it")
            if (own[0], used[0]) in APART:
                problems.append(f"{where}: {own[0]}/ and {used[0]}/ stand apart")
            if used[-1].endswith("_priv.h") and tuple(used[:-1]) != own[:-1]:
                problems.append(f"{where}: {found.group(1)} is private to its folder")
    print("\n".join(problems) or f"{len(FLOORS)} floors in order")
    return 1 if problems else 0


sys.exit(main())
