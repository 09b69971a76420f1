#!/usr/bin/env python3
"""Runs the golden programs and compares their final rows with those of real Flink.

    goldens.py --program "bonsai stream run --output json" [--work DIR] [--jobs 2] [--list] [NAME...]

passes.txt names the cases that pass; one of them that does not is a failure. A case that is not in the list must be refused
cleanly: exit code 1, one line `error: KIND: …`, nothing on stdout. A wrong row is a failure everywhere. --list prints the
names of all cases that pass now, to be put into passes.txt.
"""
import argparse
import collections
import concurrent.futures
import decimal
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
GOLDENS = HERE / "goldens"
SECONDS_MAX_CASE = 60
# Decimal places in which an engine may differ: Java's and Rust's sums of doubles are added in the same order, but
# functions such as EXP come from different libraries.
DIGITS = {"FLOAT": 5, "DOUBLE": 11}


class Expected:
    """A .expected file: either an error's kind, or columns with types and rows of JSON values."""

    def __init__(self, path):
        lines = path.read_text(encoding="utf-8").split("\n")
        if lines[-1] == "":
            lines.pop()
        self.error, self.columns, self.rows = None, [], []
        while lines and lines[0].startswith("# "):
            comment = lines.pop(0)[2:]
            if comment.startswith("error: "):
                self.error = comment[len("error: "):].split(":")[0]
        if self.error is None:
            for cell in lines.pop(0).split("\t"):
                quoted, word, kind = re.fullmatch(r"(?:`((?:[^`]|``)*)`|(\w+)) (.*)", cell).groups()
                self.columns.append((word or quoted.replace("``", "`"), kind))
            for line in lines:
                values = [json.loads(cell, parse_float=decimal.Decimal) for cell in line.split("\t")]
                self.rows.append(tuple(canonical(v, kind) for v, (_, kind) in zip(values, self.columns)))


def arguments_of(kind):
    """The types between the angle brackets of a type, split at its outer commas."""
    inner, depth, parts = kind[kind.index("<") + 1:-1], 0, [""]
    for char in inner:
        depth += (char in "<(") - (char in ">)")
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts]


def canonical(value, kind):
    """One text for equal values: numbers by value, times without trailing zeros, maps without order."""
    kind = kind.removesuffix(" NOT NULL")
    if value is None:
        return "null"
    if kind.startswith("ARRAY<"):
        return "[" + ", ".join(canonical(item, arguments_of(kind)[0]) for item in value) + "]"
    if kind.startswith(("MAP<", "MULTISET<")):
        inner = arguments_of(kind)[1] if kind.startswith("MAP<") else "INT"
        return "{" + ", ".join(sorted(f"{key}: {canonical(item, inner)}" for key, item in value.items())) + "}"
    if kind.startswith("ROW<"):
        fields = [re.fullmatch(r"`((?:[^`]|``)*)` (.*)", part, re.S).groups() for part in arguments_of(kind)]
        return "(" + ", ".join(f"{name}: {canonical(value[name], inner)}" for name, inner in fields) + ")"
    if kind == "BOOLEAN":
        return json.dumps(value) if isinstance(value, bool) else f"no BOOLEAN: {value!r}"
    if kind in DIGITS:
        if isinstance(value, str):
            return value
        return f"{float(value) + 0.0:.{DIGITS[kind]}e}".replace("-0." + "0" * DIGITS[kind] + "e", "0." + "0" * DIGITS[kind] + "e")
    if re.match(r"TINYINT|SMALLINT|INT\b|INTEGER|BIGINT|DECIMAL|INTERVAL", kind):
        if isinstance(value, (bool, str)):
            return f"no number: {value!r}"
        number = decimal.Decimal(str(value))
        return format(number.normalize() if number else decimal.Decimal(0), "f")
    if kind.startswith("TIME"):
        text = str(value).replace(" ", "T")
        return re.sub(r"\.?0*(Z?)$", r"\1", text) if "." in text else text
    return json.dumps(value, ensure_ascii=False)


def run_program(name, program, work):
    """(exit code, stdout, stderr) of a case; None for a code that did not come in time."""
    text = (GOLDENS / "cases" / f"{name}.sql").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=work) as directory:
        out = pathlib.Path(directory, "out")
        out.mkdir()
        file = pathlib.Path(directory, f"{name}.sql")
        file.write_text(text.replace("${DATA}", str(GOLDENS / "data")).replace("${OUT}", str(out)), encoding="utf-8")
        command = shlex.split(program) + [str(file)]
        environment = dict(os.environ, TZ="UTC")
        try:
            done = subprocess.run(command, capture_output=True, timeout=SECONDS_MAX_CASE, env=environment)
        except subprocess.TimeoutExpired:
            return text, None, "", ""
    return text, done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


def compare_rows(text, expected, stdout):
    """What is wrong with the rows, or None."""
    names = [name for name, _ in expected.columns]
    got = []
    for line in filter(None, stdout.split("\n")):
        row = json.loads(line, parse_float=decimal.Decimal)
        if list(row) != names:
            return f"columns {list(row)}, wanted {names}"
        got.append(tuple(canonical(row[name], kind) for name, kind in expected.columns))
    if "-- compare: ordered" in text:
        return None if got == expected.rows else f"rows or their order differ: {first_difference(got, expected.rows)}"
    missing = collections.Counter(expected.rows) - collections.Counter(got)
    extra = collections.Counter(got) - collections.Counter(expected.rows)
    if not missing and not extra:
        return None
    sample = [f"missing {next(iter(missing))}"] if missing else []
    sample += [f"extra {next(iter(extra))}"] if extra else []
    return f"{missing.total()} rows missing, {extra.total()} extra: {'; '.join(sample)}"


def first_difference(got, wanted):
    for index, (ours, theirs) in enumerate(zip(got, wanted)):
        if ours != theirs:
            return f"row {index + 1} is {ours}, wanted {theirs}"
    return f"{len(got)} rows, wanted {len(wanted)}"


def judge(name, program, work):
    """(verdict, detail): `pass`, `refused` (cleanly), or `wrong`."""
    expected = Expected(GOLDENS / "cases" / f"{name}.expected")
    text, code, stdout, stderr = run_program(name, program, work)
    if code is None:
        return "wrong", f"no end within {SECONDS_MAX_CASE} s"
    kind = re.search(r"^error: (\w+): (.*)", stderr, re.M)
    clean = code == 1 and kind and not stdout.strip() and "panicked" not in stderr
    if expected.error is not None:
        if code == 0:
            return "wrong", "accepted, but Flink refuses it"
        if not clean:
            return "wrong", f"exit {code}, stderr {stderr.strip()[-200:]!r}"
        early = ("parse", "validate", "unsupported")
        same = (kind[1] in early) == (expected.error in early)
        if same or "expect: error of any kind" in text:
            return "pass", kind[0]
        return "wrong", f"wanted {expected.error}, got {kind[0]}"
    if code != 0:
        return ("refused" if clean else "wrong"), kind[0] if clean else f"exit {code}: {stderr.strip()[-300:]!r}"
    try:
        problem = compare_rows(text, expected, stdout)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"output is not as in the contract: {error!r}"
    return ("pass", "") if problem is None else ("wrong", problem)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--work", default=None)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    listed = set((HERE / "passes.txt").read_text(encoding="utf-8").split())
    cases = sorted(path.stem for path in (GOLDENS / "cases").glob("*.sql"))
    if options.names:
        cases = [case for case in cases if any(name in case for name in options.names)]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        verdicts = pool.map(lambda case: judge(case, options.program, options.work), cases)
        for case, (verdict, detail) in zip(cases, verdicts):
            if options.list:
                if verdict == "pass":
                    print(case)
                else:
                    print(f"{verdict} {case}: {detail}", file=sys.stderr)
                continue
            if verdict == "pass" and case in listed:
                print(f"ok   {case}", flush=True)
            elif verdict == "pass":
                print(f"ok   {case} (new: add it to passes.txt)", flush=True)
            elif verdict == "refused" and case not in listed:
                print(f"ok   {case} is refused cleanly", flush=True)
            else:
                failed += 1
                print(f"FAIL {case}: {detail}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
