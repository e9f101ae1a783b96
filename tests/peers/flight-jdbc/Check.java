// Works a Flight SQL server by Arrow's JDBC driver. Needs Java 17 or newer and the driver's jar (Maven: org.apache.arrow:flight-sql-jdbc-driver):
//
//   java --add-opens=java.base/java.nio=ALL-UNNAMED -cp flight-sql-jdbc-driver-18.3.0.jar Check.java HOST:PORT
//
// Prints a line for each check; exits with 1 if one fails. It makes table jdbc_rows.

import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;

public class Check {
  static final String SLOW = "SELECT count(*) FROM range(100000000000) a, range(1000) b";
  static boolean failed = false;

  static void check(String name, boolean ok, Object... info) {
    failed |= !ok;
    System.out.println((ok ? "ok   " : "FAIL ") + name + " " + List.of(info));
  }

  static List<String> strings(ResultSet rows, String column) throws SQLException {
    List<String> out = new ArrayList<>();
    while (rows.next()) out.add(rows.getString(column));
    return out;
  }

  interface Call {
    void run() throws SQLException;
  }

  static void refused(String name, String words, Call call) {
    try {
      call.run();
      check(name, false, "it was not refused");
    } catch (SQLException error) {
      check(name, error.getMessage().contains(words), error.getMessage());
    }
  }

  static void statements(Connection connection) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      statement.executeUpdate(
          "CREATE TABLE jdbc_rows (id BIGINT, small SMALLINT, number INTEGER, real FLOAT, price DOUBLE, yes BOOLEAN, text VARCHAR, "
              + "raw BLOB, day DATE, moment TIMESTAMP, amount DECIMAL(18, 6), PRIMARY KEY (id))");
      int rows = statement.executeUpdate(
          "INSERT INTO jdbc_rows VALUES (1, -2, 3, 1.5, 0.25, true, 'ä €', '\\x00\\xFF'::BLOB, DATE '2026-11-30', "
              + "TIMESTAMP '2026-11-30 01:02:03.004', 12.500000)");
      check("an insert tells its rows", rows == 1, rows);
      try (ResultSet row = statement.executeQuery("SELECT * FROM jdbc_rows")) {
        row.next();
        check("whole numbers", row.getLong("id") == 1 && row.getShort("small") == -2 && row.getInt("number") == 3);
        check("other numbers", row.getFloat("real") == 1.5f && row.getDouble("price") == 0.25
            && row.getBigDecimal("amount").compareTo(new BigDecimal("12.5")) == 0, row.getBigDecimal("amount"));
        check("text, bytes, boolean", row.getString("text").equals("ä €") && row.getBytes("raw").length == 2 && row.getBoolean("yes"));
        check("times", row.getDate("day").toString().equals("2026-11-30") && row.getTimestamp("moment").toString().startsWith("2026-11-30"),
            row.getDate("day"), row.getTimestamp("moment"));
      }
    }
  }

  static void prepared(Connection connection) throws SQLException {
    try (PreparedStatement insert = connection.prepareStatement("INSERT INTO jdbc_rows (id, text, day) VALUES (?, ?, ?)")) {
      for (int id = 2; id <= 10; ++id) {
        insert.setLong(1, id);
        insert.setString(2, "row " + id);
        insert.setDate(3, Date.valueOf("2026-12-01"));
        insert.addBatch();
      }
      check("a batch of parameters", insert.executeBatch().length > 0);
    }
    try (PreparedStatement query = connection.prepareStatement("SELECT text, day FROM jdbc_rows WHERE id > ? ORDER BY id")) {
      query.setLong(1, 8);
      try (ResultSet rows = query.executeQuery()) {
        List<String> texts = strings(rows, "text");
        check("a query with a parameter", texts.equals(List.of("row 9", "row 10")), texts);
      }
    }
  }

  static void metadata(Connection connection) throws SQLException {
    DatabaseMetaData data = connection.getMetaData();
    check("names", data.getDatabaseProductName().equals("Sheaf") && !data.getDatabaseProductVersion().isEmpty(),
        data.getDatabaseProductName(), data.getDatabaseProductVersion());
    check("transactions", !data.supportsTransactions());
    check("schemas", strings(data.getSchemas(), "TABLE_SCHEM").containsAll(List.of("main", "otel", "trading")));
    check("tables", strings(data.getTables(null, "main", "jdbc%", new String[] {"TABLE"}), "TABLE_NAME").equals(List.of("jdbc_rows")));
    List<String> columns = strings(data.getColumns(null, "main", "jdbc_rows", "%"), "COLUMN_NAME");
    check("columns", columns.size() == 11 && columns.get(0).equals("id"), columns);
    check("keys", strings(data.getPrimaryKeys(null, "main", "jdbc_rows"), "COLUMN_NAME").equals(List.of("id")));
    check("types of tables", strings(data.getTableTypes(), "TABLE_TYPE").contains("TABLE"));
  }

  static void cancel(Connection connection) throws Exception {
    try (Statement statement = connection.createStatement()) {
      Thread canceller = new Thread(() -> {
        try {
          Thread.sleep(500);
          statement.cancel();
        } catch (Exception error) {
          check("cancelling", false, error);
        }
      });
      canceller.start();
      long start = System.nanoTime();
      refused("a statement that was cancelled", "", () -> {
        try (ResultSet rows = statement.executeQuery(SLOW)) {
          rows.next();
        }
      });
      canceller.join();
      check("it ends at once", System.nanoTime() - start < 20_000_000_000L);
    }
  }

  public static void main(String[] arguments) throws Exception {
    if (arguments.length != 1) {
      System.err.println("usage: Check HOST:PORT");
      System.exit(2);
    }
    try (Connection connection = DriverManager.getConnection("jdbc:arrow-flight-sql://" + arguments[0] + "/?useEncryption=false")) {
      statements(connection);
      prepared(connection);
      metadata(connection);
      try (Statement statement = connection.createStatement()) {
        refused("a wrong name", "text", () -> statement.executeQuery("SELECT txet FROM jdbc_rows"));
        refused("what a client may not", "COPY", () -> statement.executeUpdate("COPY jdbc_rows TO '/tmp/x'"));
      }
      cancel(connection);
    }
    System.exit(failed ? 1 : 0);
  }
}
