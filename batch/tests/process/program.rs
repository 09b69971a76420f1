//! The program as people use it.
use std::path::Path;
use std::process::Output;

use testing::process::send;
use testing::{Program, Signal, TestDir, eventually};

const DATA: &str = "../examples/data";

fn program() -> Program {
    Program::new(env!("CARGO_BIN_EXE_batch"))
}

fn batch(args: &[&str]) -> Output {
    program().args(args).run()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs SQL that must succeed silently; gives stdout.
fn json(sql: &str) -> String {
    let output = batch(&["sql", "-c", sql, "--output", "json"]);
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{sql}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Runs what must fail with this exit code; gives the one line of the error.
fn error(args: &[&str], code: i32) -> String {
    let output = batch(args);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {message}");
    assert!(output.stdout.is_empty(), "{args:?}");
    if code == 1 {
        assert!(
            message.starts_with("error: ") && message.trim_end().lines().count() == 1,
            "{message}"
        );
    }
    message
}

#[test]
fn rows_leave_as_json_csv_table_and_parquet() {
    let sql = "SELECT 1 AS a, 0.5 AS b, NULL AS c, ST_AsText(ST_Point(1, 2)) AS d";
    assert_eq!(json(sql), "{\"a\":1,\"b\":0.5,\"c\":null,\"d\":\"POINT(1 2)\"}\n");
    assert_eq!(json("SELECT 1 AS a WHERE false"), "");
    assert_eq!(
        text(&batch(&["sql", "-c", sql, "--output", "csv"]).stdout),
        "a,b,c,d\n1,0.5,,POINT(1 2)\n"
    );
    let table = text(&batch(&["sql", "-c", "SELECT ST_Point(1, 2) AS g"]).stdout);
    assert!(
        table.contains("| POINT(1 2) |") && table.ends_with("1 row\n"),
        "{table}"
    );
    let folder = TestDir::new();
    let path = folder.join("x.parquet");
    let path = path.to_str().unwrap();
    assert!(
        batch(&["sql", "-c", sql, "--output", "parquet", "--out", path])
            .status
            .success()
    );
    assert_eq!(json(&format!("SELECT d FROM '{path}'")), "{\"d\":\"POINT(1 2)\"}\n");
}

#[test]
fn a_script_defines_copies_and_selects() {
    let folder = TestDir::new();
    let place = |name: &str| folder.join(name).to_str().unwrap().to_string();
    let script = format!(
        "-- Airports as an external table; a view; two copies; the last result is printed.\n\
         CREATE EXTERNAL TABLE airports STORED AS PARQUET LOCATION '{DATA}/airports.parquet';\n\
         CREATE VIEW west AS SELECT code, lon FROM airports WHERE lon < -150;\n\
         CREATE TABLE some AS SELECT * FROM west ORDER BY code LIMIT 3;\n\
         COPY some TO '{}';\nCOPY (SELECT code FROM some) TO '{}';\n\
         SELECT (SELECT count(*) FROM some) AS a, (SELECT count(*) FROM '{}') AS b, (SELECT count(*) FROM '{}') AS c;\n",
        place("some.parquet"),
        place("some.csv"),
        place("some.parquet"),
        place("some.csv"),
    );
    let file = place("script.sql");
    std::fs::write(&file, script).unwrap();
    let output = batch(&["sql", "-f", &file, "--output", "json"]);
    assert_eq!(
        text(&output.stdout),
        "{\"a\":3,\"b\":3,\"c\":3}\n",
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn errors_are_one_line_that_says_what_to_do() {
    let sql = |sql: &str| error(&["sql", "-c", sql], 1);
    assert!(
        sql("SELECT ST_Frobnicate(ST_Point(1.0, 2.0))")
            .to_lowercase()
            .contains("st_frobnicate")
    );
    assert!(
        sql("SELECT ST_AsText(ST_GeomFromWKB(X'0102000000FFFFFFFF0000000000000000'))").contains("not a WKB geometry")
    );
    assert!(sql("SELECT ST_GeomFromWKT('SPHERE(1 2)')").contains("'SPHERE' is no kind of geometry"));
    assert!(sql("SELECT * FROM '/no/such.parquet'").contains("/no/such.parquet"));
    assert!(sql("SELECT * FROM 's3://bucket/x.parquet'").contains("local files and from hdfs://"));
    assert!(sql("SELECT * FROM nothing").contains("nothing"));
    assert!(sql("SELEKT 1").contains("SELEKT"));
    assert!(sql("").contains("no statement"));
    assert!(error(&["sql", "-f", "/no/such.sql"], 1).contains("cannot read /no/such.sql"));
    // Statements come from stdin then, and there are none.
    assert!(error(&["sql"], 1).contains("no statement"));
    error(&["sql", "-c", "SELECT 1", "--memory-limit", "much"], 2);
    error(&["sql", "-c", "SELECT 1", "--partitions", "0"], 2);
    error(&["partitions", "--table", "x"], 2);
}

#[test]
fn cells_are_printed_and_drawn() {
    let folder = TestDir::new();
    let picture = folder.join("tree.svg");
    let table = format!("{DATA}/zipcodes.parquet");
    let args = [
        "partitions",
        "--table",
        &table,
        "--geometry",
        "ST_Point(lon, lat)",
        "--output",
        "json",
    ];
    let output = batch(&[&args[..], &["--partitions", "16", "--out", picture.to_str().unwrap()]].concat());
    let lines = text(&output.stdout);
    assert_eq!(lines.lines().count(), 16, "{}", text(&output.stderr));
    assert!(lines.starts_with("{\"cell\":0,\"min_x\":") && lines.contains("\"rows\":"));
    assert!(
        std::fs::read_to_string(&picture)
            .unwrap()
            .contains("42049 rows in 16 cells")
    );
    assert!(Path::new(&picture).exists());
}

#[test]
fn a_query_that_is_stopped_leaves_no_spilled_file() {
    let spill = TestDir::new();
    let sql = "SELECT sum(a) AS a FROM (SELECT row_number() OVER (ORDER BY m, i) * i AS a FROM \
               (SELECT repeat('x', 60) || reverse(CAST(value AS VARCHAR)) AS m, value AS i \
               FROM generate_series(1, 50000000) AS t(value)) AS t) AS s";
    let query = program()
        .args([
            "sql",
            "--memory-limit",
            "32MB",
            "--partitions",
            "1",
            "-c",
            sql,
            "--spill",
        ])
        .arg(spill.path());
    let mut query = query.spawn();
    let spilled = || std::fs::read_dir(spill.path()).unwrap().count() > 0;
    eventually("the sort spills", spilled);
    send(&query, Signal::TERM);
    assert_eq!(query.wait().unwrap().code(), Some(1));
    assert!(!spilled());
}

/// The demo's question: nearest served airport for each zip code, county for each zip code, means for each county.
#[test]
fn the_counties_of_the_demo() {
    let sql = format!(
        "WITH served AS (SELECT dest, avg(arr_delay) AS delay FROM '{DATA}/flights_2013_01.parquet' \
           WHERE arr_delay IS NOT NULL GROUP BY dest), \
         airports AS (SELECT s.dest, s.delay, ST_Point(a.lon, a.lat) AS g FROM served s \
           JOIN '{DATA}/airports.parquet' a ON a.code = s.dest), \
         zips AS (SELECT zip, ST_Point(lon, lat) AS g FROM '{DATA}/zipcodes.parquet'), \
         near AS (SELECT z.zip, z.g, a.delay, ST_DistanceSphere(z.g, a.g, 6371.0) AS km FROM zips z \
           JOIN airports a ON ST_KNN(z.g, a.g, 1, true)), \
         counties AS (SELECT c.fips, count(*) AS zips, avg(n.delay) AS mean_delay, avg(n.km) AS mean_km FROM near n \
           JOIN '{DATA}/counties.parquet' c ON ST_Contains(ST_GeomFromWKB(c.wkb), n.g) GROUP BY c.fips) \
         SELECT count(*) AS counties, sum(zips) AS zips FROM counties"
    );
    assert_eq!(json(&sql), "{\"counties\":3217,\"zips\":41603}\n");
    let served = format!(
        "SELECT count(DISTINCT dest) AS n, sum(CAST(arr_delay AS BIGINT)) AS delay FROM '{DATA}/flights_2013_01.parquet' \
         WHERE arr_delay IS NOT NULL"
    );
    assert_eq!(json(&served), "{\"n\":94,\"delay\":161819}\n");
}
