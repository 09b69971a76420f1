"""Random pairs of geometries, near-degenerate ones too, against GEOS: predicates, the intersection matrix, distances.

usage: BATCH_SQL='…/batch sql' run.py [SEED] [PAIRS]

Where both differ, rational arithmetic decides (exact.py): a difference is explained when it agrees with us. GEOS computes
nodes in doubles, so it errs near degeneracies; anything else is a failure.
"""
import os, pickle, shlex, subprocess, sys, tempfile, warnings

import pyarrow as pa, pyarrow.parquet, shapely

import exact, shapes

warnings.simplefilter("ignore")
SEED, PAIRS = int((sys.argv + ["1"])[1]), int((sys.argv + ["1", "20000"])[2])
NAMES = ["intersects", "disjoint", "contains", "within", "covers", "covered_by", "touches", "crosses", "overlaps", "equals"]
SQL = ["st_" + name.replace("_", "") for name in NAMES]


def ours(pairs, folder):
    path, out = os.path.join(folder, "pairs.parquet"), os.path.join(folder, "out.parquet")
    a, b = ([shapely.to_wkb(g) for g in side] for side in zip(*pairs))
    pa.parquet.write_table(pa.table({"id": list(range(len(a))), "a": a, "b": b}), path)
    columns = ", ".join(f"{name}(a, b) AS {name}" for name in SQL)
    sql = f"SELECT {columns}, ST_Relate(a, b) AS m, ST_Distance(a, b) AS d, ST_DWithin(a, b, 0) AS w FROM '{path}' ORDER BY id"
    subprocess.run(shlex.split(os.environ["BATCH_SQL"]) + ["--output", "parquet", "--out", out, "-c", sql], check=True)
    return pa.parquet.read_table(out).to_pylist()


def geos(a, b):
    """Intersection matrix, predicates and distance; nothing where GEOS refuses."""
    try:
        wanted = {name: bool(getattr(shapely, name)(a, b)) for name in NAMES}
        return shapely.relate(a, b), wanted, shapely.distance(a, b)
    except shapely.errors.GEOSException:
        return None, None, None


def reference(pairs):
    """What GEOS gives for each pair, and for how many it crashed. GEOS 3.13 ends its process on some nearly degenerate pairs, so it
    runs in children: one that dies costs the pair that it was at."""
    results, crashes = [], 0
    while len(results) < len(pairs):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            with os.fdopen(writer, "wb") as out:
                for a, b in pairs[len(results):]:
                    pickle.dump(geos(a, b), out)
                    out.flush()
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as answers:
            while len(results) < len(pairs):
                try:
                    results.append(pickle.load(answers))
                except (EOFError, pickle.UnpicklingError):
                    break
        os.waitpid(child, 0)
        if len(results) < len(pairs):
            results.append((None, None, None))
            crashes += 1
    return results, crashes


gen = shapes.Gen(SEED)
pairs = [gen.pair() for _ in range(PAIRS)]
with tempfile.TemporaryDirectory() as folder:
    rows = ours(pairs, folder)
explained, failed = 0, []
references, crashes = reference(pairs)
for (a, b), row, (matrix, wanted, distance) in zip(pairs, rows, references):
    given = {name: row[sql] for name, sql in zip(NAMES, SQL)}
    if matrix != row["m"] or wanted != given:
        right, da, db = exact.relate(a, b)
        empty = da is None or db is None
        if right != row["m"] or not (empty or exact.predicates(right, da, db) == given):
            failed.append(("topology", a, b, row["m"], matrix, right))
            continue
        explained += 1
    if distance is not None:
        both = row["d"] is None, distance != distance
        if both[0] != both[1] or (not both[0] and abs(row["d"] - distance) > 1e-9 * max(1.0, abs(distance))):
            failed.append(("distance", a, b, row["d"], distance, None))
    if not (a.is_empty or b.is_empty) and row["w"] != (given["intersects"] or row["d"] == 0):
        failed.append(("dwithin 0", a, b, row["w"], given["intersects"], None))
for kind, a, b, *values in failed[:10]:
    print(kind, values, shapely.to_wkt(a, rounding_precision=-1), shapely.to_wkt(b, rounding_precision=-1), sep="\n  ", file=sys.stderr)
name = f"shapely {shapely.__version__}, GEOS {shapely.geos_version_string}: {PAIRS} pairs (seed {SEED}), {explained} explained differences, {crashes} crashes of GEOS"
print(f"ok   {name}" if not failed else f"FAIL {name}: {len(failed)} unexplained")
sys.exit(1 if failed else 0)
