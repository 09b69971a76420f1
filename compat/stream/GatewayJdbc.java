import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** Flink's own JDBC driver against `stream serve`: one line a check. Arguments: HOST:PORT, an empty directory. */
public class GatewayJdbc {
    static int failures = 0;

    static void check(String name, Object wanted, Object given) {
        if (wanted.equals(given)) {
            System.out.println("ok   flink jdbc: " + name);
        } else {
            failures++;
            System.out.println("FAIL flink jdbc: " + name + ": wanted " + wanted + ", got " + given);
        }
    }

    /** All rows, each as its columns with bars between them, sorted. */
    static List<String> rows(Statement statement, String query) throws SQLException {
        List<String> rows = new ArrayList<>();
        try (ResultSet result = statement.executeQuery(query)) {
            int columns = result.getMetaData().getColumnCount();
            while (result.next()) {
                List<String> cells = new ArrayList<>();
                for (int column = 1; column <= columns; column++) {
                    cells.add(String.valueOf(result.getObject(column)));
                }
                rows.add(String.join("|", cells));
            }
        }
        Collections.sort(rows);
        return rows;
    }

    static String refusal(Statement statement, String query) {
        try {
            return "no error, but " + rows(statement, query);
        } catch (Exception error) {
            StringBuilder text = new StringBuilder();
            for (Throwable cause = error; cause != null; cause = cause.getCause()) {
                text.append(cause.getMessage()).append('\n');
            }
            return text.toString();
        }
    }

    public static void main(String[] arguments) throws Exception {
        Path folder = Path.of(arguments[1], "orders");
        try (Connection connection = DriverManager.getConnection("jdbc:flink://" + arguments[0]); Statement statement = connection.createStatement()) {
            check("SET", false, statement.execute("SET 'table.dml-sync' = 'true'"));
            statement.execute("CREATE TABLE orders (id INT, name STRING, price DECIMAL(10, 2), at_time TIMESTAMP(3)) WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = '" + folder + "')");
            check("INSERT", true, statement.execute("INSERT INTO orders VALUES (1, 'a', 1.5, TIMESTAMP '2024-01-01 00:10:00'), (2, 'b', 2.25, TIMESTAMP '2024-01-01 00:20:00'), (3, CAST(NULL AS STRING), 3, TIMESTAMP '2024-01-01 01:00:00')"));
            check("rows of all kinds", List.of("1|a|1.50", "2|b|2.25", "3|null|3.00"), rows(statement, "SELECT id, name, price FROM orders"));
            check("an aggregate", List.of("3|6.75"), rows(statement, "SELECT COUNT(*), SUM(price) FROM orders"));
            statement.execute("CREATE TABLE timed (id INT, at_time TIMESTAMP(3), WATERMARK FOR at_time AS at_time) WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = '" + folder + "')");
            check("a window, its bounds as text", List.of("2024-01-01 00:00:00.000|2", "2024-01-01 01:00:00.000|1"), rows(statement, "SELECT CAST(window_start AS STRING), COUNT(*) FROM TABLE(TUMBLE(TABLE timed, DESCRIPTOR(at_time), INTERVAL '1' HOUR)) GROUP BY window_start, window_end"));
            try (ResultSet result = statement.executeQuery("SELECT id, name, price, at_time FROM orders WHERE id = 2")) {
                ResultSetMetaData columns = result.getMetaData();
                check("column names", "id,name,price,at_time", String.join(",", columns.getColumnName(1), columns.getColumnName(2), columns.getColumnName(3), columns.getColumnName(4)));
                check("typed getters", true, result.next() && result.getInt("id") == 2 && result.getString("name").equals("b") && result.getBigDecimal("price").doubleValue() == 2.25 && result.getTimestamp("at_time").toLocalDateTime().toString().equals("2024-01-01T00:20"));
                check("the end of the rows", false, result.next());
            }
            check("SHOW TABLES", true, statement.execute("SHOW TABLES"));
            List<String> tables = new ArrayList<>();
            try (ResultSet result = statement.getResultSet()) {
                while (result.next()) {
                    tables.add(result.getString(1));
                }
            }
            check("its tables", List.of("orders", "timed"), tables);
            String message = refusal(statement, "SELECT nonsense FROM orders");
            check("an unknown column is refused by name", true, message.contains("'nonsense' not found"));
            check("a join", List.of("2|1", "3|2"), rows(statement, "SELECT a.id, b.id FROM orders a JOIN orders b ON a.id = b.id + 1"));
            check("what is not supported is refused", false, refusal(statement, "SELECT * FROM timed MATCH_RECOGNIZE (ORDER BY at_time MEASURES A.id AS id PATTERN (A) DEFINE A AS A.id = 1)").startsWith("no error"));
            check("the session goes on", List.of("7"), rows(statement, "SELECT 7"));
        }
        System.exit(failures == 0 ? 0 : 1);
    }
}
