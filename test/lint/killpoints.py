"""Every kill point that the binary lists has a test that names it."""

import os
import pathlib
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
listed = subprocess.run([os.environ["TAILRACE_BIN"], "kill-points"], capture_output=True, text=True, check=True)
points = set(listed.stdout.split())
tested = (TOP / "test" / "fault" / "kill_points.txt").read_text().split()
problems = [f"no test: {p}" for p in sorted(points - set(tested))]
problems += [f"no such point any more: {p}" for p in sorted(set(tested) - points)]
if not points:
    problems.append("the binary lists no kill points")
print("\n".join(problems) or f"{len(points)} kill points, each with a test")
sys.exit(1 if problems else 0)
