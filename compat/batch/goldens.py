"""Runs the spatial goldens; prints `ok   NAME` or `FAIL NAME: why` for each case that must pass.

A case is goldens/cases/NAME.sql (${DATA} stands for goldens/data) with NAME.expected: a header line, then the rows, on
which at least two of SedonaDB, DuckDB, Sedona on Spark and PostGIS agree. Header: mode ordered, unordered or error (a
clean refusal is wanted), columns, tolerance (relative, absolute below 1), wkt canonical or exact.

passes.txt names the cases that pass. One of them failing is a FAIL. A case outside the list may be refused with a clean
error; an answer with a wrong row, or a crash, is a FAIL too. `--write` writes passes.txt anew from what passes.
"""
import json
import math
import os
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import wkt

HERE = os.path.dirname(os.path.abspath(__file__))
CASES = os.path.join(HERE, "goldens", "cases")
DATA = os.path.join(HERE, "goldens", "data")
PASSES = os.path.join(HERE, "passes.txt")
SECONDS_MAX = 120


def comparable(value, exact):
    if isinstance(value, (bool, type(None))):
        return value
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, list):
        return [comparable(item, exact) for item in value]
    if isinstance(value, dict):
        return {key: comparable(item, exact) for key, item in sorted(value.items())}
    if value in ("NaN", "Infinity", "-Infinity"):
        return float(value.replace("Infinity", "inf"))
    if value.startswith("{"):
        try:
            return comparable(json.loads(value), True)
        except ValueError:
            return value
    return wkt.parse(value, exact) or value


def same(a, b, tolerance):
    if isinstance(a, float) and isinstance(b, float):
        if math.isnan(a) or math.isnan(b):
            return math.isnan(a) and math.isnan(b)
        return a == b or abs(a - b) <= tolerance * max(1.0, abs(a), abs(b))
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y, tolerance) for x, y in zip(a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key], tolerance) for key in a)
    return type(a) is type(b) and a == b


def difference(header, wanted, got):
    """None, or one line that says what differs."""
    columns = sorted(name.lower() for name in header["columns"])
    exact, tolerance = header.get("wkt") == "exact", header.get("tolerance", 1e-9)
    for row in got:
        if sorted(name.lower() for name in row) != columns:
            return "columns: wanted %s, got %s" % (columns, list(row))
    if len(wanted) != len(got):
        return "rows: wanted %d, got %d" % (len(wanted), len(got))

    def table(rows):
        rows = [{name.lower(): value for name, value in row.items()} for row in rows]
        rows = [[comparable(row[name], exact) for name in columns] for row in rows]
        return rows if header["mode"] == "ordered" else sorted(rows, key=wkt.rounded)

    wanted, got = table(wanted), table(got)
    pairs = [(a, b) for a, b in zip(wanted, got) if not same(a, b, tolerance)]
    if header["mode"] != "ordered":
        # Near values may sort differently on the two sides.
        left = [b for _, b in pairs]
        unmatched = []
        for a, _ in pairs:
            match = next((at for at, b in enumerate(left) if same(a, b, tolerance)), None)
            if match is None:
                unmatched.append(a)
            else:
                left.pop(match)
        pairs = list(zip(unmatched, left))
    if not pairs:
        return None
    return "%d rows differ: wanted %.150s, got %.150s" % (len(pairs), pairs[0][0], pairs[0][1])


def run(name, folder, command):
    """(verdict, why): passed, refused (a clean error) or wrong."""
    script = os.path.join(folder, name + ".sql")
    with open(os.path.join(CASES, name + ".sql")) as case, open(script, "w") as out:
        out.write(case.read().replace("${DATA}", DATA))
    with open(os.path.join(CASES, name + ".expected")) as expected:
        header, *wanted = [json.loads(line) for line in expected if line.strip()]
    try:
        ended = subprocess.run(command + [script], capture_output=True, text=True, timeout=SECONDS_MAX)
    except subprocess.TimeoutExpired:
        return "wrong", "no answer in %d s" % SECONDS_MAX
    message = " ".join(ended.stderr.split())[-200:]
    if ended.returncode not in (0, 1) or "panicked at" in ended.stderr:
        return "wrong", "it crashed with %d: %s" % (ended.returncode, message)
    if ended.returncode == 1:
        lines = ended.stderr.strip().splitlines()
        if len(lines) != 1 or not lines[0].startswith("error: "):
            return "wrong", "the error is not one line: " + message
        return ("passed" if header["mode"] == "error" else "refused"), message
    if header["mode"] == "error":
        return "wrong", "it answered where an error is wanted"
    try:
        why = difference(header, wanted, [json.loads(line) for line in ended.stdout.splitlines()])
    except ValueError as error:
        why = "unreadable output: %s" % error
    return ("wrong", why) if why else ("passed", "")


def main():
    command = shlex.split(os.environ["BATCH_CMD"])
    write = "--write" in sys.argv[1:]
    prefixes = [argument for argument in sys.argv[1:] if argument != "--write"]
    names = sorted(file[:-4] for file in os.listdir(CASES) if file.endswith(".sql"))
    names = [name for name in names if not prefixes or any(name.startswith(prefix) for prefix in prefixes)]
    listed = set(open(PASSES).read().split()) if os.path.exists(PASSES) else set()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(int(os.environ.get("JOBS", "2"))) as pool:
        results = dict(zip(names, pool.map(lambda name: run(name, folder, command), names)))
    failed = 0
    for name, (verdict, why) in results.items():
        if verdict == "passed":
            print("ok   spatial golden %s%s" % (name, "" if name in listed else " (not in passes.txt yet)"))
        elif verdict == "wrong" or name in listed:
            failed += 1
            print("FAIL spatial golden %s: %s" % (name, why))
        else:
            print("--   spatial golden %s is refused: %s" % (name, why))
    passed = [name for name, (verdict, _) in results.items() if verdict == "passed"]
    if write:
        with open(PASSES, "w") as out:
            out.write("".join(name + "\n" for name in passed))
    print("%d of %d cases pass, %d fail, the rest is refused" % (len(passed), len(names), failed))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
