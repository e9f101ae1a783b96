#include "query/keyed_statements_testing.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace sheaf::query {

namespace {

/// Without NULLs.
constexpr TypeOfValues kKeyTypes[] = {
    {"INTEGER", "(({}) * 7 - 1000)::INTEGER"},
    {"BIGINT", "(({}) * 1000003 - 40000000000)::BIGINT"},
    {"UBIGINT", "(18446744073709551615 - ({}))::UBIGINT"},
    {"TINYINT", "(({}) % 256 - 128)::TINYINT"},
    {"BOOLEAN", "(({}) % 2 = 0)"},
    // Empty, one the beginning of another, NUL bytes, above ASCII, longer than what zones keep.
    {"VARCHAR",
     "(repeat(chr((({0}) % 3)::INTEGER), ((({0}) // 3) % 4)::INTEGER) || CASE ({0}) % 5 WHEN 0 THEN '' WHEN 1 THEN 'é' "
     "WHEN 2 THEN chr(128512) WHEN 3 THEN repeat('x', 90) ELSE 'Z' END || CASE WHEN ({0}) % 4 = 0 THEN '' "
     "ELSE (({0}) // 20)::VARCHAR END)"},
    {"BLOB",
     "unhex(repeat(['00', 'FF', '41', '80'][(({0}) % 4)::INTEGER + 1], (({0}) % 7)::INTEGER) || printf('%04x', ({0}) // 8))"},
    {"DECIMAL(9,2)", "(({}) / 4)::DECIMAL(9,2)"},
    {"DECIMAL(30,3)", "((({}) - 500) * 12345678901)::DECIMAL(30,3)"},
    {"DATE", "(DATE '1969-06-01' + (({}) % 40000)::INTEGER)"},
    {"TIMESTAMP", "make_timestamp((({}) - 300) * 3600000001)"},
    {"TIMESTAMP_NS", "make_timestamp_ns((({}) - 300) * 3600000000007)"},
    {"TRACE_ID", "printf('%032x', ({}) * 7777777)::TRACE_ID"},
};

constexpr TypeOfValues kValueTypes[] = {
    {"BIGINT", "(({}) * 31 - 5000)::BIGINT"},
    {"SMALLINT", "(({}) % 3000 - 1500)::SMALLINT", "BIGINT"},
    {"UINTEGER", "(({}) % 100000)::UINTEGER", "UBIGINT"},
    {"FLOAT",
     "CASE ({0}) % 9 WHEN 1 THEN 'nan' WHEN 2 THEN '-inf' WHEN 3 THEN '-0.0' ELSE (({0}) % 1000 / 8)::VARCHAR END::FLOAT",
     "DOUBLE"},
    {"DOUBLE", "CASE ({0}) % 9 WHEN 1 THEN 'nan' WHEN 2 THEN 'inf' WHEN 3 THEN '-0.0' ELSE (({0}) / 16)::VARCHAR END::DOUBLE"},
    {"DECIMAL(9,2)", "(({}) % 100000 / 4)::DECIMAL(9,2)", "DECIMAL(20,4)"},
    {"VARCHAR",
     "(CASE ({0}) % 6 WHEN 0 THEN '' WHEN 1 THEN chr(0) WHEN 2 THEN 'ü' || (({0}) % 50)::VARCHAR WHEN 3 THEN repeat('long ', 30) "
     "ELSE 'v' || (({0}) % 20)::VARCHAR END)"},
    {"BLOB", "unhex(printf('%06x', ({}) % 65536))"},
    {"BOOLEAN", "(({}) % 3 = 0)"},
    {"DATE", "(DATE '2000-01-01' + (({}) % 9000)::INTEGER)"},
    {"TIME", "make_time((({}) % 24), 30, 1.5)"},
    {"TIMESTAMP", "make_timestamp(({}) * 60000000)"},
    {"TIMESTAMP_NS", "make_timestamp_ns(({}) * 1000000001)"},
    {"TIMESTAMP WITH TIME ZONE", "make_timestamptz(({}) * 77000000)"},
    {"INTEGER[]", "[({0}) % 10, NULL, ({0}) % 3]::INTEGER[]"},
    {"FLOAT[2]", "[({0}) % 10, ({0}) % 4]::FLOAT[2]"},
    {"STRUCT(a INTEGER, b VARCHAR)",
     "{{'a': (({0}) % 100)::INTEGER, 'b': CASE WHEN ({0}) % 4 > 0 THEN 'b' || (({0}) % 8)::VARCHAR END}}"},
    {"MAP(VARCHAR, INTEGER)", "map(['k', 'l' || (({0}) % 5)::VARCHAR], [(({0}) % 9)::INTEGER, NULL])"},
    {"SPAN_ID", "printf('%016x', ({}) * 12345)::SPAN_ID"},
};

bool IsNested(const std::string& type) { return type.ends_with("]") || type.starts_with("STRUCT") || type.starts_with("MAP"); }
bool IsNumber(const std::string& type) { return type.ends_with("INT") || type == "UINTEGER" || type.starts_with("DECIMAL"); }

}  // namespace

std::string Replace(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) text.replace(at, from.size(), to);
  return text;
}

KeyedStatements::KeyedStatements(uint64_t seed, bool large) : large_(large), random_(seed) {
  const int64_t keys = Chance(3) ? 2 + Pick(2) : 1;
  for (int64_t i = 0; i < keys; ++i) {
    const TypeOfValues type = kKeyTypes[Pick(std::size(kKeyTypes))];
    key_.push_back({fmt::format("k{}", i), type, type.name, "NULL", true});
  }
  for (size_t i = 2 + Pick(4); i > 0; --i) values_.push_back(NewValueColumn(Chance(8)));
  // Where the columns of the key are, and in which order the key names them, is left to chance too.
  order_ = Names(true);
  std::shuffle(order_.begin(), order_.end(), random_);
}

std::string KeyedStatements::Create(const std::string& table, bool or_replace) {
  std::vector<std::string> parts;
  for (const std::string& name : order_) {
    const Column& column = Find(name);
    parts.push_back(fmt::format("{} {}{}{}", name, column.declared,
                                column.default_value == "NULL" ? "" : " DEFAULT " + column.default_value,
                                column.not_null ? " NOT NULL" : ""));
  }
  return fmt::format("CREATE {}TABLE {} ({}, PRIMARY KEY ({}))", or_replace ? "OR REPLACE " : "", table, fmt::join(parts, ", "),
                     fmt::join(Names(false), ", "));
}

Statement KeyedStatements::Write() {
  switch (Pick(13)) {
    case 0:
    case 1:
    case 2: return Insert();
    case 3: return InsertMissing();
    case 4: return Upsert();
    case 5:
    case 6: return Update();
    case 7: return UpdateFrom();
    case 8: return Delete();
    case 9: return DeleteUsing();
    case 10:
    case 11: return Merge();
    default: return Chance(3) ? Statement{Chance(2) ? "TRUNCATE $t" : "DELETE FROM $t"} : InsertFromItself();
  }
}

Statement KeyedStatements::Wrong() {
  const Column& value = values_[Pick(values_.size())];
  const std::string keys = fmt::format("{}", fmt::join(Names(false), ", "));
  switch (Pick(4)) {
    case 0: return {fmt::format("INSERT INTO $t ({}) VALUES (NULL)", key_[0].name)};
    case 1: return {fmt::format("UPDATE $t SET {0} = {0} WHERE printf('x%d', hash({1}))::INTEGER = 1", value.name, keys)};
    case 2:
      return {fmt::format("INSERT INTO $t ({}) SELECT {} FROM range(50000) r(i) WHERE i < 49000 OR printf('x%d', i)::INTEGER = 1",
                          keys, fmt::join(Keys("i"), ", "))};
    default: return {fmt::format("UPDATE $t SET {0} = {0}", key_[0].name), "SELECT error('no')"};
  }
}

Statement KeyedStatements::Alter() {
  const std::vector<std::string> before = order_;
  std::vector<std::string> selected = order_;
  const size_t column = Pick(values_.size());
  Statement statement;
  switch (Pick(4)) {
    case 0:
    case 1: {
      values_.push_back(NewValueColumn(Chance(3)));
      const Column& added = values_.back();
      order_.push_back(added.name);
      selected.push_back(added.default_value + "::" + added.declared);
      statement.sql = fmt::format("ALTER TABLE $t ADD COLUMN {} {}{}", added.name, added.declared,
                                  added.default_value == "NULL" ? "" : " DEFAULT " + added.default_value);
      values_.back().not_null = false;
      break;
    }
    case 2:
      if (values_.size() > 1) {
        statement.sql = "ALTER TABLE $t DROP COLUMN " + values_[column].name;
        std::erase(order_, values_[column].name);
        selected = order_;
        values_.erase(values_.begin() + static_cast<int64_t>(column));
        break;
      }
      [[fallthrough]];
    default: {
      Column& changed = values_[column];
      if (changed.type.wider != nullptr && changed.declared != changed.type.wider) {
        changed.declared = changed.type.wider;
        statement.sql = fmt::format("ALTER TABLE $t ALTER COLUMN {} TYPE {}", changed.name, changed.declared);
      } else {
        const std::string name = fmt::format("v{}", next_++);
        statement.sql = fmt::format("ALTER TABLE $t RENAME COLUMN {} TO {}", changed.name, name);
        std::replace(order_.begin(), order_.end(), changed.name, name);
        changed.name = name;
      }
    }
  }
  statement.peer =
      fmt::format("{}; INSERT INTO scratch.main.made SELECT {} FROM {}; DROP TABLE {}; ALTER TABLE scratch.main.made RENAME TO t",
                  Create("scratch.main.made"), fmt::join(selected, ", "), kPeerTable, kPeerTable);
  statement.same_answer = false;
  return statement;
}

Statement KeyedStatements::CreateAnew() {
  values_.push_back(NewValueColumn(false));
  order_.push_back(values_.back().name);
  return {Create("$t", true), Create(kPeerTable, true), false};
}

std::string KeyedStatements::Contents() const {
  std::vector<std::string> hashes, counts;
  for (const std::string& name : order_) {
    hashes.push_back(fmt::format("sum(hash({0}))::VARCHAR AS h_{0}", name));
    counts.push_back(fmt::format("count({0}) AS c_{0}", name));
  }
  return fmt::format("SELECT count(*) AS n, sum(hash(({})))::VARCHAR AS h, {}, {} FROM $t", fmt::join(order_, ", "),
                     fmt::join(hashes, ", "), fmt::join(counts, ", "));
}

std::string KeyedStatements::Question() {
  const std::string where = Condition(2), keys = fmt::format("{}", fmt::join(Names(false), ", "));
  const std::string value = values_[Pick(values_.size())].name, any = order_[Pick(order_.size())];
  switch (Pick(12)) {
    case 0: return fmt::format("SELECT * FROM $t WHERE {} ORDER BY {} LIMIT 200", KeyEquals(Number()), keys);
    case 1: return fmt::format("SELECT * FROM $t WHERE {} ORDER BY {} LIMIT 200", where, keys);
    case 2: return fmt::format("SELECT count(*), min({0}), max({0}), count(DISTINCT {1}) FROM $t WHERE {2}", any, value, where);
    case 3: return fmt::format("SELECT {0}, count(*) AS n FROM $t WHERE {1} GROUP BY ALL ORDER BY n, {0} LIMIT 30", value, where);
    case 4:
      return fmt::format("SELECT {0}, {1} FROM $t ORDER BY {1} {2} NULLS {3}, {0} LIMIT {4} OFFSET {5}", keys, any,
                         Chance(2) ? "DESC" : "ASC", Chance(2) ? "FIRST" : "LAST", 1 + Pick(30), Pick(5));
    case 5: return fmt::format("SELECT min({0}), max({0}), count(*) FROM $t", any);
    case 6:
      return fmt::format("SELECT count(*), count(a.{0}) FROM $t a JOIN $t b USING ({1}) WHERE a.{2}", value, keys,
                         Comparison(key_[0]));
    case 7:
      return fmt::format("SELECT {0}, {1} FROM $t WHERE {2} IN (SELECT {3} FROM range({4}, {5}) r(i)) ORDER BY {0} LIMIT 50",
                         keys, value, key_[0].name, fmt::format(fmt::runtime(key_[0].type.value), "i"), Number(), Number());
    case 8:
      return fmt::format("SELECT {0}, {1} FROM $t WHERE {2} = (SELECT {3}({2}) FROM $t) ORDER BY {0} LIMIT 50", keys, value, any,
                         Chance(2) ? "min" : "max");
    case 9:
      return fmt::format(
          "SELECT {0}, row_number() OVER (PARTITION BY {1} ORDER BY {0}) AS nth FROM $t WHERE {2} ORDER BY {0} LIMIT 50", keys,
          value, where);
    case 10:
      return fmt::format(
          "SELECT a.{0}, b.{0} FROM (SELECT * FROM $t WHERE {1}) a LEFT JOIN $t b ON a.k0 = b.k0 AND b.{2} "
          "ORDER BY ALL LIMIT 40",
          value, KeyEquals(Number()), Comparison(values_[Pick(values_.size())]));
    default: return fmt::format("SELECT count(*) FROM $t WHERE {}", where);
  }
}

KeyedStatements::Column KeyedStatements::NewValueColumn(bool with_default) {
  const TypeOfValues type = kValueTypes[Pick(std::size(kValueTypes))];
  Column column{fmt::format("v{}", next_++), type, type.name, "NULL", false};
  if (!with_default || IsNested(type.name)) return column;
  static constexpr const char* kDefaults[][2] = {
      {"VARCHAR", "'none'"}, {"BIGINT", "-7"},         {"SMALLINT", "12"},
      {"DOUBLE", "2.5"},     {"FLOAT", "0.25"},        {"DECIMAL(9,2)", "3.75"},
      {"BOOLEAN", "true"},   {"DATE", "'2020-02-29'"}, {"TIMESTAMP", "'2020-01-01 10:00:00'"}};
  for (const auto& [name, value] : kDefaults) {
    if (column.declared != name) continue;
    column.default_value = value;
    column.not_null = Chance(2);
  }
  return column;
}

std::vector<std::string> KeyedStatements::Names(bool all) const {
  std::vector<std::string> names;
  for (const Column& column : key_) names.push_back(column.name);
  if (all) {
    for (const Column& column : values_) names.push_back(column.name);
  }
  return names;
}

const KeyedStatements::Column& KeyedStatements::Find(const std::string& name) const {
  for (const auto* columns : {&key_, &values_}) {
    for (const Column& column : *columns) {
      if (column.name == name) return column;
    }
  }
  std::abort();
}

std::string KeyedStatements::Number() { return fmt::format("{}::BIGINT", Chance(large_ ? 2 : 20) ? Pick(200'000) : Pick(3000)); }

std::string KeyedStatements::Value(const Column& column, const std::string& number) {
  std::string value = fmt::format(fmt::runtime(column.type.value), number);
  if (column.declared != column.type.name) value = fmt::format("({})::{}", value, column.declared);
  return column.not_null ? value : fmt::format("CASE WHEN ({}) % 11 <> 3 THEN {} END", number, value);
}

std::vector<std::string> KeyedStatements::Keys(const std::string& number) const {
  std::vector<std::string> keys;
  for (size_t i = 0; i < key_.size(); ++i) {
    // The columns of a key vary one slower than the other.
    keys.push_back(
        fmt::format(fmt::runtime(key_[i].type.value), i == 0 && key_.size() > 1 ? fmt::format("({}) // 37", number) : number));
  }
  return keys;
}

std::string KeyedStatements::Numbers() {
  const size_t low = Pick(3000);
  if (large_ && (std::exchange(first_, false) || Chance(2)))
    return fmt::format("range({}, {}) r(i)", Pick(3000), 126'000 + Pick(20'000));
  if (Chance(2)) return fmt::format("range({}, {}) r(i)", low, low + Pick(2500));
  std::vector<std::string> numbers;
  for (size_t i = 1 + Pick(6); i > 0; --i) numbers.push_back(fmt::format("({})", low + Pick(9)));
  return fmt::format("(VALUES {}) r(i)", fmt::join(numbers, ", "));
}

std::string KeyedStatements::Rows(const std::string& one) {
  std::vector<std::string> columns;
  const std::string salt = std::to_string(Pick(5000)), numbers = Numbers();
  const auto keys = Keys("i");
  for (size_t i = 0; i < key_.size(); ++i) columns.push_back(fmt::format("{} AS {}", keys[i], key_[i].name));
  for (const Column& column : values_) columns.push_back(fmt::format("{} AS {}", Value(column, "i + " + salt), column.name));
  std::string rows =
      fmt::format("(SELECT p, {} FROM (SELECT row_number() OVER () AS p, i FROM {}))", fmt::join(columns, ", "), numbers);
  if (one.empty()) return rows;
  return fmt::format("(FROM {} QUALIFY row_number() OVER (PARTITION BY {} ORDER BY p {}) = 1)", rows,
                     fmt::join(Names(false), ", "), one);
}

std::pair<std::string, std::string> KeyedStatements::RowsAndOne(const char* one) {
  const auto random = random_;
  const bool first = first_;
  std::string all = Rows("");
  random_ = random;
  first_ = first;
  return {std::move(all), Rows(one)};
}

Statement KeyedStatements::Insert() {
  const auto [all, last] = RowsAndOne("DESC");
  // Columns left out get their defaults, also where the row of the key had others.
  std::vector<std::string> given = Names(false), values = given, names = Names(true);
  for (const Column& column : values_) {
    const bool has_default = column.default_value != "NULL";
    const bool leave_out = (has_default || !column.not_null) && Chance(6);
    if (!leave_out) given.push_back(column.name);
    values.push_back(leave_out ? fmt::format("{}::{}", column.default_value, column.declared) : column.name);
  }
  return {fmt::format("INSERT {0}INTO $t ({1}) SELECT {1} FROM {2}", Chance(2) ? "" : "OR REPLACE ", fmt::join(given, ", "), all),
          fmt::format("INSERT OR REPLACE INTO {} ({}) SELECT {} FROM {}", kPeerTable, fmt::join(names, ", "),
                      fmt::join(values, ", "), last),
          false};
}

Statement KeyedStatements::InsertMissing() {
  const auto [all, first] = RowsAndOne("ASC");
  const std::string columns = fmt::format("{}", fmt::join(Names(true), ", "));
  const std::string returning = Chance(2) ? " RETURNING " + columns : "";
  const char* verb = Chance(2) ? "INSERT OR IGNORE INTO {0} ({1}) SELECT {1} FROM {2}{3}"
                               : "INSERT INTO {0} ({1}) SELECT {1} FROM {2} ON CONFLICT DO NOTHING{3}";
  return {fmt::format(fmt::runtime(verb), "$t", columns, all, returning),
          fmt::format(fmt::runtime(verb), kPeerTable, columns, first, returning)};
}

Statement KeyedStatements::InsertFromItself() {
  const std::string columns = fmt::format("{}", fmt::join(Names(true), ", "));
  Column& value = values_[Pick(values_.size())];
  const std::string changed = Replace(" " + columns + ",", " " + value.name + ",", " " + Value(value, "hash(k0) % 1000") + ",");
  const std::string query =
      fmt::format("({}) SELECT {} FROM $t WHERE {}", columns, changed.substr(0, changed.size() - 1), Condition(1));
  return {"INSERT INTO $t " + query, "INSERT OR REPLACE INTO $t " + query, false};
}

Statement KeyedStatements::Upsert() {
  const std::string columns = fmt::format("{}", fmt::join(Names(true), ", "));
  std::vector<std::string> sets;
  for (const Column& column : values_) {
    if (!Chance(2)) continue;
    sets.push_back(fmt::format("{} = {}", column.name, Chance(2) ? "excluded." + column.name : NewValue(column, "t.")));
  }
  if (sets.empty()) sets.push_back(fmt::format("{0} = excluded.{0}", values_[0].name));
  return {fmt::format("INSERT INTO $t AS t ({0}) SELECT {0} FROM {1} ON CONFLICT ({2}) DO UPDATE SET {3}", columns, Rows("DESC"),
                      fmt::join(Names(false), ", "), fmt::join(sets, ", ")),
          "", true, Chance(3) ? columns : ""};
}

std::string KeyedStatements::NewValue(const Column& column, const std::string& of) {
  if (IsNumber(column.declared) && Chance(2)) return fmt::format("({}{} // 2)::{}", of, column.name, column.declared);
  for (const Column& other : values_) {
    if (other.declared == column.declared && other.name != column.name && !column.not_null && Chance(2)) return of + other.name;
  }
  return Value(column, fmt::format("(hash({}{}) % 5000)::BIGINT + {}", of, order_[Pick(order_.size())], Pick(100)));
}

Statement KeyedStatements::Update() {
  std::vector<std::string> sets;
  for (const Column& column : values_) {
    if (!sets.empty() && Chance(2)) continue;
    const std::string value = Chance(8)   ? "DEFAULT"
                              : Chance(8) ? Value(column, "(SELECT count(*) FROM $t)")
                                          : NewValue(column, "");
    if (value == "DEFAULT" && column.not_null && column.default_value == "NULL") continue;
    sets.push_back(fmt::format("{} = {}", column.name, value));
  }
  const std::string where = Chance(8) ? "" : " WHERE " + (Chance(3) ? KeyEquals(Number()) : Condition(2));
  return {fmt::format("UPDATE $t SET {}{}", fmt::join(sets, ", "), where), "", true,
          Chance(3) ? fmt::format("{}", fmt::join(Names(true), ", ")) : ""};
}

std::string KeyedStatements::KeysEqual(const std::string& a, const std::string& b) const {
  std::vector<std::string> equal;
  for (const Column& column : key_) equal.push_back(fmt::format("{}.{} = {}.{}", a, column.name, b, column.name));
  return fmt::format("{}", fmt::join(equal, " AND "));
}

Statement KeyedStatements::UpdateFrom() {
  const Column& column = values_[Pick(values_.size())];
  return {fmt::format("UPDATE $t AS t SET {0} = s.{0} FROM {1} s WHERE {2}", column.name, Rows("ASC"), KeysEqual("t", "s")), "",
          true, Chance(3) ? fmt::format("t.{}", fmt::join(Names(true), ", t.")) : ""};
}

Statement KeyedStatements::Delete() {
  return {fmt::format("DELETE FROM $t WHERE {}{}", Chance(2) ? KeyEquals(Number()) : Condition(2),
                      Chance(3) ? fmt::format(" RETURNING {}", fmt::join(Names(true), ", ")) : "")};
}

Statement KeyedStatements::DeleteUsing() {
  return {fmt::format("DELETE FROM $t AS t USING {} s WHERE {}", Rows(Chance(2) ? "ASC" : ""), KeysEqual("t", "s"))};
}

Statement KeyedStatements::Merge() {
  std::vector<std::string> when;
  const Column& set = values_[Pick(values_.size())];
  if (Chance(2)) when.push_back(fmt::format("WHEN MATCHED AND s.p % 3 = 0 THEN DELETE"));
  if (Chance(4)) when.push_back("WHEN MATCHED AND s.p % 5 = 0 THEN DO NOTHING");
  if (!Chance(3))
    when.push_back(
        fmt::format("WHEN MATCHED THEN UPDATE SET {0} = {1}", set.name, Chance(2) ? "s." + set.name : NewValue(set, "t.")));
  if (!Chance(3)) {
    const auto names = Names(true);
    std::vector<std::string> from;
    for (const auto& name : names) from.push_back("s." + name);
    when.push_back(fmt::format("WHEN NOT MATCHED{} THEN INSERT ({}) VALUES ({})", Chance(3) ? " AND s.p % 2 = 0" : "",
                               fmt::join(names, ", "), fmt::join(from, ", ")));
  }
  if (Chance(5)) {
    when.push_back(fmt::format("WHEN NOT MATCHED BY SOURCE AND t.{} THEN {}", Comparison(key_[0]),
                               Chance(2) ? "DELETE" : fmt::format("UPDATE SET {} = {}", set.name, NewValue(set, "t."))));
  }
  if (when.empty()) when.push_back("WHEN MATCHED THEN DELETE");
  return {fmt::format("MERGE INTO $t AS t USING {} s ON {} {}", Rows("ASC"), KeysEqual("t", "s"), fmt::join(when, " ")), "", true,
          Chance(3) ? fmt::format("merge_action, {}", fmt::join(Names(true), ", ")) : ""};
}

std::string KeyedStatements::KeyEquals(const std::string& number) {
  std::vector<std::string> parts;
  const auto keys = Keys(number), others = Keys(Number());
  for (size_t i = 0; i < key_.size(); ++i) {
    if (i > 0 && Chance(5)) continue;
    parts.push_back(Chance(3) ? fmt::format("{} IN ({}, {})", key_[i].name, keys[i], others[i])
                              : fmt::format("{} = {}", key_[i].name, keys[i]));
  }
  std::shuffle(parts.begin(), parts.end(), random_);
  return fmt::format("{}", fmt::join(parts, " AND "));
}

const char* KeyedStatements::Operator() {
  // Without IS DISTINCT FROM: of two of them in an OR DuckDB 1.5.5 loses the NULLs of its own tables.
  static constexpr const char* kOperators[] = {"=", "<>", "<", "<=", ">", ">="};
  return kOperators[Pick(std::size(kOperators))];
}

std::string KeyedStatements::Comparison(const Column& column) {
  const bool is_key = column.name.starts_with("k");
  const auto value = [&] {
    const std::string number = Number();
    if (is_key) return fmt::format(fmt::runtime(column.type.value), key_.size() > 1 ? number + " // 37" : number);
    return fmt::format(fmt::runtime(column.type.value), number);
  };
  switch (Pick(6)) {
    case 0: return fmt::format("{} IS {}NULL", column.name, Chance(2) ? "NOT " : "");
    case 1: return fmt::format("{} IN ({}, {}, {})", column.name, value(), value(), value());
    case 2:
      if (!IsNested(column.declared)) return fmt::format("{} BETWEEN {} AND {}", column.name, value(), value());
      [[fallthrough]];  // DuckDB has no BETWEEN of arrays.
    case 3:
      if (column.declared == "VARCHAR") {
        static constexpr const char* kPatterns[] = {"LIKE 'v1%'", "LIKE '%x'", "LIKE 'é%'", "NOT LIKE 'Z%'", "= ''", "> chr(0)"};
        return column.name + " " + kPatterns[Pick(std::size(kPatterns))];
      }
      [[fallthrough]];
    default: return fmt::format("{} {} {}", column.name, Operator(), value());
  }
}

std::string KeyedStatements::Condition(int depth) {
  if (depth > 0 && Chance(2))
    return fmt::format("({} {} {})", Condition(depth - 1), Chance(2) ? "AND" : "OR", Condition(depth - 1));
  if (depth > 0 && Chance(8)) return "NOT (" + Condition(depth - 1) + ")";
  if (Chance(8)) return fmt::format("{} = (SELECT {}({}) FROM $t)", key_[0].name, Chance(2) ? "min" : "max", key_[0].name);
  return Comparison(Chance(2) ? key_[Pick(key_.size())] : values_[Pick(values_.size())]);
}

}  // namespace sheaf::query
