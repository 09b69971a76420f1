//! Functions against what Flink 2.3 gave for the same calls.

use arrow::array::{Array, ArrayRef, Int32Array, StringArray};
use arrow::datatypes::Field;
use datafusion::config::ConfigOptions;

use super::*;

const UTC: SessionFacts = SessionFacts {
    zone: Zone::UTC,
    now_ms: 1_700_000_000_000,
    outside: crate::connector::outside::REAL,
};

/// Calls a function on scalars; the result as the JSON of the gateway.
fn call(name: &str, arguments: &[ScalarValue]) -> Result<String, String> {
    let udf = scalar(name, &UTC).unwrap_or_else(|| panic!("{name} is not there"));
    run(&udf, arguments, &UTC)
}

fn run(udf: &Arc<ScalarUDF>, arguments: &[ScalarValue], session: &SessionFacts) -> Result<String, String> {
    let types: Vec<DataType> = arguments.iter().map(ScalarValue::data_type).collect();
    let returns = udf.return_type(&types).map_err(|e| e.to_string())?;
    let args = ScalarFunctionArgs {
        args: arguments.iter().cloned().map(ColumnarValue::Scalar).collect(),
        arg_fields: types
            .iter()
            .map(|t| Arc::new(Field::new("a", t.clone(), true)))
            .collect(),
        number_rows: 1,
        return_field: Arc::new(Field::new("r", returns, true)),
        config_options: Arc::new(ConfigOptions::default()),
    };
    let result = udf.invoke_with_args(args).map_err(|e| e.to_string())?;
    let array = result.into_array(1).map_err(|e| e.to_string())?;
    let view = View::new(&array).map_err(|e| e.to_string())?;
    let mut json = String::new();
    crate::output::write_json_value(&mut json, view.value(0), session.zone);
    Ok(json)
}

fn s(text: &str) -> ScalarValue {
    ScalarValue::Utf8(Some(text.to_owned()))
}

fn i(value: i32) -> ScalarValue {
    ScalarValue::Int32(Some(value))
}

fn big(value: i64) -> ScalarValue {
    ScalarValue::Int64(Some(value))
}

fn d(value: f64) -> ScalarValue {
    ScalarValue::Float64(Some(value))
}

fn ts(text: &str) -> ScalarValue {
    let moment = crate::format::temporal::parse_timestamp(text, b' ').unwrap();
    ScalarValue::TimestampMillisecond(moment.to_unit(arrow::datatypes::TimeUnit::Millisecond), None)
}

/// Checks `NAME(arguments) = expected` for each line.
fn check(cases: &[(&str, &[ScalarValue], &str)]) {
    for (name, arguments, expected) in cases {
        assert_eq!(call(name, arguments).as_deref(), Ok(*expected), "{name}({arguments:?})");
    }
}

#[test]
fn positions_and_parts_of_text() {
    check(&[
        ("POSITION", &[s("bC"), s("AbCdEfAbC")], "2"),
        ("LOCATE", &[s("bC"), s("AbCdEfAbC"), i(6)], "8"),
        ("LOCATE", &[s("ü"), s("Grüße, Jürgen ❤"), i(6)], "9"),
        ("INSTR", &[s("padded"), s("pad")], "1"),
        ("SUBSTRING", &[s("Grüße"), i(3)], "\"üße\""),
        ("SUBSTRING", &[s("Hello World"), i(0), i(3)], "\"Hel\""),
        ("SUBSTR", &[s("Hello World"), i(-5), i(2)], "\"Wo\""),
        ("SUBSTR", &[s("Hello World"), i(100)], "\"\""),
        ("OVERLAY", &[s("12345"), s("##"), i(3), i(2)], "\"12##5\""),
        ("SPLIT_INDEX", &[s("a,b,,c"), s(","), i(2)], "\"\""),
        ("SPLIT_INDEX", &[s("a,b,,c"), s(","), i(4)], "null"),
        ("LPAD", &[s("hi"), i(4), s("??")], "\"??hi\""),
        ("RPAD", &[s("hi"), i(1), s("??")], "\"h\""),
        ("INITCAP", &[s("hello wORLD")], "\"Hello World\""),
        ("TRIM", &[s("LEADING"), s(" "), s("  x ")], "\"x \""),
        (
            "CONCAT_WS",
            &[s("-"), s("a"), ScalarValue::Utf8(None), s("b")],
            "\"a-b\"",
        ),
        ("CONCAT_OPERATOR", &[s("a"), ScalarValue::Utf8(None)], "null"),
        ("CHAR_LENGTH", &[s("ü❤")], "2"),
        ("STARTSWITH", &[s("a,b"), s("a")], "true"),
        ("PRINTF", &[s("%s has %05d"), s("ü"), i(-3)], "\"ü has -0003\""),
        ("IS_DECIMAL", &[s("-7.25")], "true"),
        ("IS_DIGIT", &[s("-7.25")], "false"),
        ("IS_ALPHA", &[ScalarValue::Utf8(None)], "false"),
    ]);
}

#[test]
fn encodings_digests_and_urls() {
    let url = || s("https://user@shop.example:8443/p/a/t/h;x?q=a%20b&lang=de#frag");
    check(&[
        ("HEX", &[s("AbC")], "\"416243\""),
        ("HEX", &[i(10)], "\"A\""),
        ("UNHEX", &[s("4D7953")], "\"TXlT\""),
        ("TO_BASE64", &[s("Hello World")], "\"SGVsbG8gV29ybGQ=\""),
        ("FROM_BASE64", &[s("SGVsbG8gV29ybGQ=")], "\"Hello World\""),
        ("MD5", &[s("Hello World")], "\"b10a8db164e0754105b7a99be72e3fe5\""),
        (
            "SHA1",
            &[s("Hello World")],
            "\"0a4d55a8d778e5022fab701977c5d840bbc486d0\"",
        ),
        (
            "SHA2",
            &[s("World"), i(256)],
            "\"78ae647dc5544d227130a0682a51e30bc7777fbb6d8a8f17007463a3ecd1d524\"",
        ),
        ("PARSE_URL", &[url(), s("HOST")], "\"shop.example\""),
        ("PARSE_URL", &[url(), s("PATH")], "\"/p/a/t/h;x\""),
        ("PARSE_URL", &[url(), s("QUERY"), s("lang")], "\"de\""),
        ("PARSE_URL", &[url(), s("AUTHORITY")], "\"user@shop.example:8443\""),
        ("PARSE_URL", &[url(), s("USERINFO")], "\"user\""),
        ("PARSE_URL", &[s("x=1&y=2&z"), s("HOST")], "null"),
        ("URL_ENCODE", &[s("x=1 y")], "\"x%3D1+y\""),
        ("URL_DECODE", &[s("a%20b%C3%BC")], "\"a bü\""),
        ("STR_TO_MAP", &[s("x=1&z"), s("&"), s("=")], "{\"x\":\"1\",\"z\":null}"),
        ("JSON_QUOTE", &[s("ü/\"")], "\"\\\"\\\\u00fc\\\\/\\\\\\\"\\\"\""),
        ("JSON_UNQUOTE", &[s("\"\\u00fc\\/\"")], "\"ü/\""),
        (
            "JSON_VALUE",
            &[s("{\"a\":[1,{\"b\":true}]}"), s("$.a[1].b")],
            "\"true\"",
        ),
        ("JSON_EXISTS", &[s("{\"a\":1}"), s("lax $.b")], "false"),
    ]);
}

#[test]
fn dates_and_timestamps() {
    check(&[
        ("TO_TIMESTAMP", &[s("2024-02-29 23:59:59")], "\"2024-02-29T23:59:59\""),
        (
            "TO_TIMESTAMP",
            &[s("2023/12/31 12.30"), s("yyyy/MM/dd HH.mm")],
            "\"2023-12-31T12:30:00\"",
        ),
        (
            "TO_TIMESTAMP",
            &[s("2024-02-29 23:59:59"), s("yyyy-MM-dd")],
            "\"2024-02-29T23:59:59\"",
        ),
        ("TO_TIMESTAMP", &[s("2021-01-03T10:00:00"), s("yyyy-MM-dd")], "null"),
        (
            "TO_DATE",
            &[s("2024-02-29 23:59:59"), s("yyyy/MM/dd HH.mm")],
            "\"+1705471-09-27\"",
        ),
        ("TO_DATE", &[s("2021-01-03T10:00:00")], "null"),
        ("UNIX_TIMESTAMP", &[s("2000-10-15 05:06:07.089")], "971586367"),
        ("UNIX_TIMESTAMP", &[s("2020-12-31")], "-9223372036854775808"),
        ("FROM_UNIXTIME", &[big(-14_182_940)], "\"1969-07-20 20:17:40\""),
        (
            "DATE_FORMAT",
            &[ts("2024-02-29 23:59:59"), s("yyyyMMdd-HH")],
            "\"20240229-23\"",
        ),
        (
            "CONVERT_TZ",
            &[s("1970-01-01 00:00:00"), s("UTC"), s("Asia/Tokyo")],
            "\"1970-01-01 09:00:00\"",
        ),
        (
            "TO_TIMESTAMP_LTZ",
            &[big(1_000_007), i(3)],
            "\"1970-01-01T00:16:40.007Z\"",
        ),
        (
            "CEIL",
            &[ts("2023-12-31 12:30:15.5"), s("WEEK")],
            "\"2023-12-31T00:00:00\"",
        ),
        (
            "CEIL",
            &[ts("2024-02-29 23:59:59.999"), s("WEEK")],
            "\"2024-03-03T00:00:00\"",
        ),
        (
            "CEIL",
            &[ts("1969-07-20 20:17:40.123"), s("HOUR")],
            "\"1969-07-20T21:00:00\"",
        ),
        (
            "CEIL",
            &[ts("2021-01-03 10:00:00"), s("QUARTER")],
            "\"2021-04-01T00:00:00\"",
        ),
        (
            "FLOOR",
            &[ts("2021-01-03 10:20:00"), s("HOUR")],
            "\"2021-01-03T10:00:00\"",
        ),
        ("EXTRACT", &[s("WEEK"), ts("2021-01-03 10:00:00")], "53"),
        ("DAYOFWEEK", &[ts("2021-01-03 10:00:00")], "1"),
        (
            "TIMESTAMPADD",
            &[s("MONTH"), i(1), ts("2024-01-31 10:00:00")],
            "\"2024-02-29T10:00:00\"",
        ),
        (
            "TIMESTAMPDIFF",
            &[s("MONTH"), ts("2024-01-31 10:00:00"), ts("2024-02-29 09:00:00")],
            "0",
        ),
        (
            "TIMESTAMPDIFF",
            &[s("DAY"), ts("2024-01-31 10:00:00"), ts("2024-01-29 09:00:00")],
            "-2",
        ),
    ]);
}

#[test]
fn numbers() {
    let decimal = |value, precision, scale| ScalarValue::Decimal128(Some(value), precision, scale);
    check(&[
        ("POWER", &[i(i32::MIN), i(2)], "4.611686018427388E18"),
        ("LOG2", &[d(8.5)], "3.0874628412503395"),
        ("ROUND", &[d(2.345), i(2)], "2.35"),
        ("ROUND", &[i(1250), i(-2)], "1300"),
        ("TRUNCATE", &[decimal(-1999, 5, 3), i(1)], "-1.900"),
        ("CEIL", &[decimal(-1999, 5, 3)], "-1"),
        ("FLOOR", &[d(-0.5)], "-1.0"),
        ("MOD", &[decimal(1_234_567_891, 20, 5), i(2)], "1.67891"),
        ("GREATEST", &[i(1), big(3), i(2)], "3"),
        ("LEAST", &[s("b"), s("a")], "\"a\""),
    ]);
    assert!(call("MOD", &[i(1), i(0)]).unwrap_err().contains("/ by zero"));
}

#[test]
fn patterns() {
    check(&[
        ("LIKE", &[s("a%b"), s("%\\%%"), s("\\")], "true"),
        ("LIKE", &[s("line\nbreak"), s("l%k")], "true"),
        ("LIKE", &[s("Jon"), s("_a%")], "false"),
        ("SIMILAR", &[s("12345"), s("[0-9]+")], "true"),
        ("SIMILAR", &[s("Hello World"), s("%(World|Jürgen)%")], "true"),
        ("SIMILAR", &[s("a.b"), s("a_b")], "true"),
        ("SIMILAR", &[s("axb"), s("a.b")], "false"),
        ("REGEXP_EXTRACT", &[s("foothebar"), s("foo(.*?)(bar)"), i(2)], "\"bar\""),
        (
            "REGEXP_REPLACE",
            &[s("foobar"), s("(o+)(b)"), s("$2$1x")],
            "\"fbooxar\"",
        ),
    ]);
    let error = call("REGEXP", &[s("a"), s("(?=a)")]).unwrap_err();
    assert!(error.contains("look-around"), "{error}");
}

#[test]
fn arrays() {
    let list = |items: &[&str]| {
        let items: Vec<ScalarValue> = items.iter().map(|item| s(item)).collect();
        ScalarValue::List(ScalarValue::new_list_nullable(&items, &DataType::Utf8))
    };
    let tags = || list(&["c", "a", "a"]);
    check(&[
        ("ARRAY_CONTAINS", &[tags(), s("a")], "true"),
        ("ARRAY_DISTINCT", &[tags()], "[\"c\",\"a\"]"),
        ("ARRAY_POSITION", &[tags(), s("a")], "2"),
        ("ARRAY_SLICE", &[tags(), i(1), i(2)], "[\"c\",\"a\"]"),
        ("ARRAY_SLICE", &[list(&[]), i(1), i(2)], "[]"),
        (
            "ARRAY_SORT",
            &[tags(), ScalarValue::Boolean(Some(false))],
            "[\"c\",\"a\",\"a\"]",
        ),
        ("ARRAY_MAX", &[list(&[])], "null"),
        ("ARRAY_JOIN", &[tags(), s("+")], "\"c+a+a\""),
        ("ARRAY_PREPEND", &[tags(), s("p")], "[\"p\",\"c\",\"a\",\"a\"]"),
        ("ITEM", &[tags(), i(1)], "\"c\""),
        ("CARDINALITY", &[tags()], "3"),
        ("ARRAY", &[i(1), big(2)], "[1,2]"),
        ("MAP", &[s("k"), i(1), s("l"), i(3), s("k"), i(2)], "{\"l\":3,\"k\":2}"),
    ]);
}

#[test]
fn a_bad_call_is_refused_before_it_runs() {
    let plan = |name: &str, types: &[DataType]| scalar(name, &UTC).unwrap().return_type(types).unwrap_err().to_string();
    assert!(plan("UPPER", &[DataType::Int32]).contains("Cannot apply 'UPPER'"));
    assert!(plan("LPAD", &[DataType::Utf8]).contains("Invalid number of arguments to function 'LPAD'"));
    assert!(scalar("NO_SUCH_FUNCTION", &UTC).is_none());
}

#[test]
fn columns_and_scalars_mix_and_nulls_pass() {
    let udf = scalar("LEFT", &UTC).unwrap();
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("abc"), None, Some("ü")]));
    let args = ScalarFunctionArgs {
        args: vec![ColumnarValue::Array(texts), ColumnarValue::Scalar(i(2))],
        arg_fields: vec![],
        number_rows: 3,
        return_field: Arc::new(Field::new("r", DataType::Utf8, true)),
        config_options: Arc::new(ConfigOptions::default()),
    };
    let result = udf.invoke_with_args(args).unwrap().into_array(3).unwrap();
    assert_eq!(
        result.as_ref(),
        &StringArray::from(vec![Some("ab"), None, Some("ü")]) as &dyn Array
    );
}

#[test]
fn volatile_functions_give_each_row_its_own() {
    let rows = |name: &str, arguments: Vec<ColumnarValue>, data_type: DataType| {
        let args = ScalarFunctionArgs {
            args: arguments,
            arg_fields: vec![],
            number_rows: 100,
            return_field: Arc::new(Field::new("r", data_type, true)),
            config_options: Arc::new(ConfigOptions::default()),
        };
        scalar(name, &UTC)
            .unwrap()
            .invoke_with_args(args)
            .unwrap()
            .into_array(100)
            .unwrap()
    };
    let ids = rows("UUID", vec![], DataType::Utf8);
    let ids: std::collections::BTreeSet<&str> = ids
        .as_any()
        .downcast_ref::<StringArray>()
        .unwrap()
        .iter()
        .map(Option::unwrap)
        .collect();
    assert_eq!(ids.len(), 100);
    assert!(ids.iter().all(|id| id.len() == 36));
    let numbers = rows("RAND_INTEGER", vec![ColumnarValue::Scalar(i(10))], DataType::Int32);
    let numbers = numbers.as_any().downcast_ref::<Int32Array>().unwrap();
    assert!(numbers.iter().all(|n| (0..10).contains(&n.unwrap())));
}

/// Casts a scalar; the result as JSON.
fn casted(value: ScalarValue, to: DataType, try_cast: bool) -> Result<String, String> {
    run(&cast(&to, None, None, try_cast, &UTC), &[value], &UTC)
}

#[test]
fn casts_of_numbers() {
    let ok = |value, to| casted(value, to, false).unwrap();
    assert_eq!(ok(i(i32::MAX), DataType::Int8), "-1");
    assert_eq!(ok(big(i64::MIN), DataType::Int32), "0");
    assert_eq!(ok(i(1000), DataType::Int8), "-24");
    assert_eq!(ok(d(3e10), DataType::Int32), "2147483647");
    assert_eq!(ok(big(i64::MAX), DataType::Float32), "9.223372E18");
    assert_eq!(ok(d(2.675), DataType::Decimal128(5, 2)), "2.68");
    assert_eq!(ok(i(1000), DataType::Decimal128(3, 0)), "null");
    assert_eq!(ok(d(1e10), DataType::Utf8), "\"1.0E10\"");
    assert_eq!(ok(ScalarValue::Boolean(Some(true)), DataType::Utf8), "\"TRUE\"");
}

#[test]
fn casts_of_texts() {
    let tried = |text: &str, to| casted(s(text), to, true).unwrap();
    assert_eq!(tried("-7.25", DataType::Int32), "-7");
    assert_eq!(tried("-7.25", DataType::Decimal128(8, 1)), "-7.3");
    assert_eq!(tried("2024-02-29", DataType::Int32), "null");
    assert_eq!(tried("300", DataType::Int8), "null");
    assert_eq!(tried("yes", DataType::Boolean), "true");
    assert_eq!(tried("", DataType::Boolean), "null");
    assert_eq!(
        tried(
            "2024-02-29",
            DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, None)
        ),
        "\"2024-02-29T00:00:00\""
    );
    let error = casted(s("x"), DataType::Int32, false).unwrap_err();
    assert!(
        error.contains("For input string: 'x'. Invalid character found."),
        "{error}"
    );
    let char4 = cast(&DataType::Utf8, Some(Length::Char(4)), None, true, &UTC);
    assert_eq!(run(&char4, &[s("bC")], &UTC).unwrap(), "\"bC  \"");
    assert_eq!(run(&char4, &[s("World")], &UTC).unwrap(), "\"Worl\"");
}

#[test]
fn casts_of_time() {
    let text = |value| casted(value, DataType::Utf8, false).unwrap();
    assert_eq!(text(ts("2023-12-31 12:30:15.5")), "\"2023-12-31 12:30:15.500\"");
    assert_eq!(
        casted(ts("2023-12-31 12:30:15.5"), DataType::Date32, false).unwrap(),
        "\"2023-12-31\""
    );
    let tokyo = SessionFacts {
        zone: Zone::Named(chrono_tz::Tz::Asia__Tokyo),
        ..UTC
    };
    let ltz = DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, Some("UTC".into()));
    let to_ltz = cast(&ltz, None, None, false, &tokyo);
    assert_eq!(
        run(&to_ltz, &[ts("2024-01-15 10:00:00")], &UTC).unwrap(),
        "\"2024-01-15T01:00:00Z\""
    );
    assert!(!can_cast(&DataType::Int32, &DataType::Date32));
    assert!(casted(i(1), DataType::Date32, false).is_err());
}

#[test]
fn every_name_is_given_once() {
    let mut names: Vec<&str> = TABLES
        .iter()
        .flat_map(|table| table.iter())
        .flat_map(|f| f.names)
        .copied()
        .collect();
    names.sort_unstable();
    let mut once = names.clone();
    once.dedup();
    assert_eq!(names, once);
}
