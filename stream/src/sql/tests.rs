//! What is accepted, and how what is not is refused.

use super::parse::parse;
use super::{Answer, Session};
use crate::Error;

const BIDS: &str = "CREATE TABLE bids (
  bid_id INT, auction INT, bidder STRING, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '/tmp/none.csv', 'format' = 'csv');
CREATE TABLE plain (k INT, s STRING, v INT) WITH ('connector' = 'filesystem', 'path' = '/tmp/none.csv', 'format' = 'csv');
CREATE TABLE log (k INT, s STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH (
  'connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = '127.0.0.1:1', 'format' = 'json',
  'scan.startup.mode' = 'earliest-offset');
";

fn plan(sql: &str) -> Result<Answer, Error> {
    let program = format!("{BIDS}{sql}");
    let mut session = Session::new(crate::connector::ENVIRONMENT);
    let mut last = Err(Error::runtime("no statement"));
    for statement in parse(&program)? {
        last = Ok(session.execute(&statement, 0)?);
    }
    last
}

fn refused(sql: &str, kind: &str, words: &str) {
    let error = plan(sql).expect_err(sql);
    assert_eq!(error.kind(), kind, "{sql}: {error}");
    assert!(error.message().contains(words), "{sql}: {error}");
}

#[test]
fn what_flink_has_and_we_plan() {
    for sql in [
        "SELECT k, v * 2 + 1 AS w, s || '!' FROM plain WHERE v > 1 AND s IS NOT NULL",
        "SELECT p.k, p.* FROM plain AS p (k, a, b)",
        "WITH a AS (SELECT k FROM plain) SELECT * FROM a UNION ALL SELECT v FROM plain",
        "SELECT CASE WHEN k > 1 THEN 1 ELSE 2.5 END, COALESCE(v, 0), NULLIF(k, 1) FROM plain",
        "SELECT window_start, window_end, auction, COUNT(*), AVG(price), MAX(price) FILTER (WHERE auction > 1) \
         FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end, auction",
        "SELECT window_start, COUNT(DISTINCT bidder) FROM TABLE(HOP(DATA => TABLE bids, TIMECOL => DESCRIPTOR(ts), \
         SLIDE => INTERVAL '10' SECOND, SIZE => INTERVAL '1' MINUTE)) GROUP BY window_start, window_end",
        "SELECT window_end, SUM(price) FROM TABLE(CUMULATE((SELECT * FROM bids), DESCRIPTOR(ts), INTERVAL '1' MINUTE, \
         INTERVAL '1' HOUR)) GROUP BY window_start, window_end HAVING SUM(price) > 10",
        "SELECT s, COUNT(*) FROM plain GROUP BY s HAVING COUNT(*) > 1",
        "SELECT UPPER(s), CAST(COUNT(*) AS STRING), ROUND(AVG(v) * 1.5, 1), SUM(v) * 1.10 FROM plain GROUP BY s \
         HAVING SUM(v) IN (1, 2, 3) OR CHAR_LENGTH(s) > MAX(v)",
        "SELECT CAST(window_start AS STRING), DATE_FORMAT(window_end, 'HH:mm'), -SUM(CAST(price AS DECIMAL(10, 2))) \
         FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end",
        "SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE log, DESCRIPTOR(ts), INTERVAL '1' HOUR)) \
         GROUP BY window_start, window_end",
        "SELECT a.k, b.v FROM plain AS a LEFT JOIN plain AS b ON a.k = b.k AND a.v < b.v",
        "SELECT * FROM plain AS a NATURAL JOIN plain AS b",
        "SELECT * FROM plain FULL JOIN (SELECT k, COUNT(*) AS n FROM plain GROUP BY k) AS c USING (k)",
        "SELECT a.k FROM plain AS a, plain AS b, plain AS c WHERE a.k = b.v AND b.k = c.v AND c.s IS NOT DISTINCT FROM a.s AND a.v > 1",
        "SELECT k FROM plain EXCEPT SELECT v FROM plain",
        "SELECT k FROM plain INTERSECT ALL SELECT v FROM plain",
        "SELECT k FROM plain WHERE k IN (SELECT v FROM plain) AND NOT EXISTS (SELECT 1 FROM bids WHERE auction = k)",
        "SELECT k, (SELECT MAX(v) FROM plain) AS most FROM plain WHERE v > (SELECT AVG(v) FROM plain) OR v IN (1, 2)",
        "SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC) AS n FROM plain) WHERE n <= 3",
        "SELECT ROW_NUMBER() OVER (ORDER BY ts) FROM bids",
        "SELECT *, price - AVG(price) OVER w AS apart, COUNT(*) OVER w FROM bids WINDOW w AS (PARTITION BY auction ORDER BY ts \
         RANGE BETWEEN INTERVAL '1' MINUTE PRECEDING AND CURRENT ROW)",
        "SELECT a.bid_id FROM bids AS a JOIN log AS b ON a.auction = b.k AND a.ts BETWEEN b.ts - INTERVAL '1' MINUTE AND b.ts",
        "VALUES (1, 'a'), (2, NULL)",
        "SHOW TABLES",
        "DESCRIBE bids",
    ] {
        plan(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

#[test]
fn what_is_no_flink_sql_is_a_parse_error_with_its_place() {
    refused("SELECT k::STRING FROM plain", "parse", "::");
    refused("SELECT (k FROM plain", "parse", "line 9, column");
    refused("SELEC k FROM plain", "parse", "\"SELEC\" at line 9, column 1");
    refused("SELECT 'abc", "parse", "line 9");
    refused("SELECT k FROM plain; SELECT \"k\" FROM plain", "parse", "line 9");
    refused("CREATE TABLE t (a TEXT) WITH ('connector' = 'print')", "parse", "TEXT");
    refused(
        "CREATE TABLE t (a INT) WITH (connector = 'print')",
        "parse",
        "connector",
    );
    refused(
        &format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000)),
        "parse",
        "nested",
    );
}

#[test]
fn wrong_names_and_types_are_validation_errors() {
    refused(
        "SELECT x FROM plain",
        "validate",
        "Column 'x' not found at line 9, column 8",
    );
    refused(
        "SELECT * FROM nope",
        "validate",
        "Object 'nope' not found at line 9, column 15",
    );
    refused("SELECT k + s FROM plain", "validate", "Cannot apply '+'");
    refused(
        "SELECT k, SUM(v) FROM plain",
        "validate",
        "Expression 'k' is not being grouped",
    );
    refused("SELECT k FROM plain HAVING v > 1", "validate", "is not being grouped");
    refused(
        "SELECT date_trunc('day', ts) FROM bids",
        "validate",
        "No match found for function signature DATE_TRUNC",
    );
    refused(
        "SELECT ts + INTERVAL '1000' SECOND FROM bids",
        "validate",
        "exceeds precision of SECOND(2)",
    );
    refused(
        "SELECT ts + INTERVAL 'abc' DAY FROM bids",
        "validate",
        "Illegal interval literal",
    );
    refused(
        "SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE plain, DESCRIPTOR(k), INTERVAL '1' HOUR)) GROUP BY window_start, window_end",
        "validate",
        "time attribute",
    );
    refused(
        "SELECT k FROM plain UNION ALL SELECT s = 'a' FROM plain",
        "validate",
        "Type mismatch in column 1",
    );
    refused(
        "CREATE TABLE plain (a INT) WITH ('connector' = 'print')",
        "validate",
        "already exists",
    );
    refused(
        "CREATE TABLE t (a INT, WATERMARK FOR b AS b) WITH ('connector' = 'print')",
        "validate",
        "'b' is not defined",
    );
    refused(
        "CREATE TABLE t (a INT, PRIMARY KEY (a)) WITH ('connector' = 'print')",
        "validate",
        "NOT ENFORCED",
    );
    refused(
        "SET 'table.local-time-zone' = 'Mars/Olympus'",
        "validate",
        "Mars/Olympus",
    );
}

#[test]
fn what_flink_has_and_we_have_not_is_named() {
    for (sql, words) in [
        ("SELECT * FROM plain ORDER BY k", "time-attribute"),
        ("SELECT s, COUNT(*) FROM log GROUP BY s", "unbounded"),
        (
            "SELECT window_start FROM TABLE(SESSION(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE))",
            "SESSION",
        ),
        ("SELECT /*+ OPTIONS('a' = 'b') */ k FROM plain", "hints"),
        ("ALTER TABLE plain RENAME TO other", "ALTER"),
        ("EXPLAIN SELECT 1", "EXPLAIN"),
        (
            "SELECT SUM(v) OVER (PARTITION BY k ORDER BY s) FROM plain",
            "time attribute",
        ),
        (
            "SELECT SUM(price) OVER (ORDER BY ts), MAX(price) OVER (PARTITION BY auction ORDER BY ts) FROM bids",
            "same window",
        ),
        ("SELECT k FROM plain WHERE v = (SELECT v FROM plain)", "several rows"),
        (
            "SELECT a.k FROM log AS a LEFT JOIN log AS b ON a.k = b.k",
            "does not end",
        ),
        ("INSERT OVERWRITE plain SELECT * FROM plain", "OVERWRITE"),
        ("SELECT * FROM plain FOR SYSTEM_TIME AS OF ts", "FOR SYSTEM_TIME"),
    ] {
        refused(sql, "unsupported", words);
    }
}

#[test]
fn an_insert_fits_its_table_or_is_refused() {
    let sink = "CREATE TABLE sink (a BIGINT, b STRING NOT NULL) WITH ('connector' = 'blackhole');";
    plan(&format!("{sink} INSERT INTO sink SELECT k, s FROM plain")).unwrap();
    plan(&format!("{sink} EXECUTE STATEMENT SET BEGIN INSERT INTO sink SELECT k, s FROM plain; INSERT INTO sink VALUES (1, 'x'); END"))
        .unwrap();
    refused(
        &format!("{sink} INSERT INTO sink SELECT s, s FROM plain"),
        "validate",
        "Incompatible types",
    );
    refused(
        &format!("{sink} INSERT INTO sink SELECT k FROM plain"),
        "validate",
        "Different number of columns",
    );
    refused(
        &format!("{sink} INSERT INTO nowhere SELECT k FROM plain"),
        "validate",
        "nowhere",
    );
    refused(
        &format!("{sink} INSERT INTO sink SELECT COUNT(*), s FROM plain GROUP BY s"),
        "unsupported",
        "update",
    );
    refused(
        "CREATE VIEW w AS SELECT k FROM plain; INSERT INTO w SELECT k FROM plain",
        "unsupported",
        "view",
    );
}

#[test]
fn long_chains_are_answered_and_deep_trees_refused_before_they_exist() {
    let ored = |terms: usize| {
        let terms: Vec<String> = (0..terms).map(|term| format!("k = {term}")).collect();
        format!("SELECT k FROM plain WHERE {}", terms.join(" OR "))
    };
    plan(&ored(10_000)).unwrap();
    plan(&ored(5_000).replace("OR", "AND")).unwrap();
    for (text, words) in [
        (format!("SELECT {}", vec!["1"; 100_000].join("+")), "operators in a row"),
        (
            format!("SELECT {}", vec!["'a'"; 100_000].join("||")),
            "operators in a row",
        ),
        (format!("SELECT 1 {}", "IS NULL ".repeat(100_000)), "operators in a row"),
        (
            format!("SELECT 1 {}", "BETWEEN 1 AND 2 ".repeat(100_000)),
            "operators in a row",
        ),
        (vec!["SELECT 1"; 10_000].join(" UNION ALL "), "UNIONs"),
        (
            format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000)),
            "nested more than",
        ),
        (
            format!("SELECT {}1{}", "ABS(".repeat(100_000), ")".repeat(100_000)),
            "nested more than",
        ),
        (format!("SELECT {}1", "- ".repeat(100_000)), "operators in a row"),
    ] {
        let error = plan(&text).expect_err(words);
        assert_eq!(error.kind(), "parse", "{words}");
        assert!(error.message().contains(words), "{words}: {error}");
    }
    plan(&format!("SELECT {} FROM plain", vec!["k"; 200].join(" + "))).unwrap();
}

#[test]
fn a_table_or_view_that_is_used_twice_is_read_once() {
    use crate::graph::{Origin, build};
    let scans = |sql: &str| match plan(sql).unwrap() {
        Answer::Job(job) => {
            let graph = build(&job.outputs, 2);
            let scans = graph
                .vertices
                .iter()
                .filter(|vertex| matches!(vertex.origin, Origin::Table(..)));
            scans.count()
        }
        Answer::Rows(..) => panic!("{sql} is no job"),
    };
    assert_eq!(
        scans("SELECT k FROM plain WHERE v > 1 UNION ALL SELECT v FROM plain"),
        1
    );
    assert_eq!(
        scans(
            "CREATE VIEW w AS SELECT k, v FROM plain WHERE v > 1; CREATE VIEW x AS SELECT k FROM w UNION ALL SELECT v FROM w; \
             SELECT * FROM x UNION ALL SELECT k FROM plain"
        ),
        1
    );
    assert_eq!(
        scans(
            "CREATE TABLE a (k INT) WITH ('connector' = 'blackhole'); CREATE TABLE b (k INT) WITH ('connector' = 'blackhole'); \
             EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT k FROM plain; INSERT INTO b SELECT v FROM plain WHERE k > 1; END"
        ),
        1
    );
    // Doubling a relation thirteen times is thirteen steps, not 2^13 of them.
    let doubled: Vec<String> = (0..13)
        .map(|n| format!("t{} AS (SELECT k FROM t{n} UNION ALL SELECT k FROM t{n})", n + 1))
        .collect();
    assert_eq!(
        scans(&format!(
            "WITH t0 AS (SELECT k FROM plain), {} SELECT k FROM t13",
            doubled.join(", ")
        )),
        1
    );
}
