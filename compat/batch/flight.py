"""Arrow's ADBC driver for Flight SQL against `batch serve`: one line a check.

usage: flight.py HOST:PORT
"""
import os, sys, tempfile

import adbc_driver_flightsql.dbapi as flightsql
import pyarrow.parquet
import pyarrow as pa

ADDRESS = sys.argv[1]
failures = 0


def check(name, wanted, given):
    global failures
    if wanted == given:
        print(f"ok   adbc: {name}")
    else:
        failures += 1
        print(f"FAIL adbc: {name}: wanted {wanted!r}, got {given!r}")


def refusal(action):
    """The error's text, or what came instead."""
    try:
        return "no error: " + repr(action())
    except Exception as error:  # the driver has a class for each code
        return f"{type(error).__name__}: {error}"


with tempfile.TemporaryDirectory() as folder, flightsql.connect(f"grpc://{ADDRESS}") as connection:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 AS one, 'a' AS letter, CAST(NULL AS DOUBLE) AS nothing, 1.50 AS price")
        check("a row", [(1, "a", None)], [row[:3] for row in cursor.fetchall()])
        check("its columns", ["one", "letter", "nothing", "price"], [column[0] for column in cursor.description])

        path = os.path.join(folder, "points.parquet")
        pa.parquet.write_table(pa.table({"id": list(range(100_000)), "x": [i % 100 / 10 for i in range(100_000)]}), path)
        cursor.execute(f"SELECT count(*), sum(id) FROM '{path}' WHERE ST_Within(ST_Point(x, 0.5), ST_MakeEnvelope(0, 0, 1.05, 1))")
        # A point on the edge (x = 0) is not within.
        check("a spatial filter over a file", [(10_000, sum(i for i in range(100_000) if 1 <= i % 100 <= 10))], cursor.fetchall())

        cursor.execute(f"SELECT id FROM '{path}' ORDER BY id")
        table = cursor.fetch_arrow_table()
        check("many batches, as Arrow", (100_000, 99_999), (table.num_rows, table.column("id")[-1].as_py()))

        cursor.execute(f"CREATE EXTERNAL TABLE points STORED AS PARQUET LOCATION '{path}'")
        cursor.fetchall()
        cursor.execute("SELECT max(id) FROM points")
        check("a table registered before", [(99_999,)], cursor.fetchall())

        error = refusal(lambda: cursor.execute("SELECT nonsense FROM points") or cursor.fetchall())
        check("an unknown column is an error that names it", True, "nonsense" in error and "no error" not in error)
        error = refusal(lambda: cursor.execute("SELEKT 1") or cursor.fetchall())
        check("a syntax error is an error", True, "no error" not in error and "SELEKT" in error.upper())
        cursor.execute("SELECT 2")
        check("the connection goes on after errors", [(2,)], cursor.fetchall())

    objects = connection.adbc_get_objects(depth="tables").read_all().to_pylist()
    names = [t["table_name"] for c in objects for s in c["catalog_db_schemas"] or [] for t in s["db_schema_tables"] or []]
    check("the catalogue lists the table", True, "points" in names)
    check("a table's schema", ["id", "x"], connection.adbc_get_table_schema("points").names)
    check("table types", True, len(connection.adbc_get_table_types()) > 0)
    check("who is there", True, bool(connection.adbc_get_info().get("vendor_name")))

    with connection.cursor() as cursor:
        cursor.adbc_prepare("SELECT 3 AS three")
        cursor.execute("SELECT 3 AS three")
        check("a prepared statement", [(3,)], cursor.fetchall())

    with connection.cursor() as cursor:
        cursor.execute("SELECT $1 + 1 AS a", (41,))
        check("a bound number", [(42,)], cursor.fetchall())
        cursor.execute("SELECT ? AS a, '?' AS b", ("it's",))
        check("a bound text, and a question mark in a text", [("it's", "?")], cursor.fetchall())
        with flightsql.connect(f"grpc://{ADDRESS}") as other, other.cursor() as others:
            others.execute("SET datafusion.execution.batch_size = 7")
            others.fetchall()
        cursor.execute("SELECT value FROM information_schema.df_settings WHERE name = 'datafusion.execution.batch_size'")
        check("another connection's settings are its own", [("8192",)], cursor.fetchall())

sys.exit(1 if failures else 0)
