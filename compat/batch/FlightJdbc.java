import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;

/** Arrow's JDBC driver for Flight SQL against `batch serve`: one line a check. Argument: HOST:PORT. */
public class FlightJdbc {
    static int failures = 0;

    static void check(String name, Object wanted, Object given) {
        if (wanted.equals(given)) {
            System.out.println("ok   jdbc: " + name);
        } else {
            failures++;
            System.out.println("FAIL jdbc: " + name + ": wanted " + wanted + ", got " + given);
        }
    }

    public static void main(String[] arguments) throws Exception {
        String url = "jdbc:arrow-flight-sql://" + arguments[0] + "/?useEncryption=false";
        try (Connection connection = DriverManager.getConnection(url); Statement statement = connection.createStatement()) {
            statement.execute("CREATE VIEW places AS SELECT ST_Point(1, 2) AS point");
            try (ResultSet rows = statement.executeQuery("SELECT ST_AsText(ST_Point(1, 2)) AS point, 7 AS seven, NULL AS nothing")) {
                check("a row is there", true, rows.next());
                check("a geometry as text", "POINT(1 2)", rows.getString("point").replace("POINT (", "POINT("));
                check("a number", 7L, rows.getLong(2));
                check("null", true, rows.getObject(3) == null);
                check("and no other", false, rows.next());
            }
            long sum = 0;
            try (ResultSet rows = statement.executeQuery("SELECT value FROM generate_series(1, 50000)")) {
                while (rows.next()) {
                    sum += rows.getLong(1);
                }
            }
            check("many rows", 1_250_025_000L, sum);
            try (PreparedStatement prepared = connection.prepareStatement("SELECT 'x' AS x"); ResultSet rows = prepared.executeQuery()) {
                check("a prepared statement", true, rows.next() && rows.getString(1).equals("x"));
            }
            String message = "";
            try {
                statement.executeQuery("SELECT nonsense").next();
            } catch (SQLException error) {
                message = error.getMessage();
            }
            check("an error names the column", true, message.contains("nonsense"));
            List<String> names = new ArrayList<>();
            try (ResultSet tables = connection.getMetaData().getTables(null, null, "%", null)) {
                while (tables.next()) {
                    names.add(tables.getString("TABLE_NAME"));
                }
            }
            check("the metadata lists tables", true, names.contains("places"));
        }
        System.exit(failures == 0 ? 0 : 1);
    }
}
