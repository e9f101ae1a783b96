/// Random statements about one keyed table, in pairs: for a table of the store, and for one of DuckDB's own that is to hold the
/// same.

#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace sheaf::query {

/// The table of DuckDB's own.
inline constexpr char kPeerTable[] = "scratch.main.t";

/// A statement for each of the two. Empty for the peer: the same with its table.
struct Statement {
  std::string sql;
  std::string peer;
  bool same_answer = true;  // Else only that both work or both do not.
  std::string returning;    // Of the store alone: DuckDB 1.5.5 leaves rows out of an UPDATE's RETURNING on tables of its own.
};

/// A type, and how values of it are made.
struct TypeOfValues {
  const char* name;
  const char* value;            // SQL over {}, any whole number.
  const char* wider = nullptr;  // What ALTER COLUMN … TYPE can make of it.
};

/// Makes statements about one table, which it knows. `$t` stands for the table in them. One thread at a time.
class KeyedStatements {
 public:
  /// `large`: half of the statements bring more rows than a batch of the store or a row group of DuckDB holds.
  KeyedStatements(uint64_t seed, bool large);
  /// CREATE TABLE, of either.
  std::string Create(const std::string& table, bool or_replace = false);
  /// Adds or replaces rows.
  Statement Insert();
  /// Any statement that writes.
  Statement Write();
  /// A statement that both must refuse, or that fails on the way.
  Statement Wrong();
  /// Changes the columns; the peer is made anew, since DuckDB changes little about a table with a key.
  Statement Alter();
  /// A table of the same name, empty, perhaps with other columns behind the key.
  Statement CreateAnew();
  /// All rows in one row.
  std::string Contents() const;
  /// A SELECT with an order, and a limit where rows may be many.
  std::string Question();

  bool Chance(uint64_t one_in) { return Pick(one_in) == 0; }
  size_t Pick(size_t below) { return static_cast<size_t>(random_() % below); }

 private:
  struct Column {
    std::string name;
    TypeOfValues type;          // How its values are made.
    std::string declared;       // `type.name`, until it is widened.
    std::string default_value;  // As SQL; NULL where there is none.
    bool not_null = false;
  };

  Column NewValueColumn(bool with_default);
  std::vector<std::string> Names(bool all) const;
  const Column& Find(const std::string& name) const;
  std::string Number();
  /// A value of the column made of a whole number, sometimes NULL where it may be.
  std::string Value(const Column& column, const std::string& number);
  std::vector<std::string> Keys(const std::string& number) const;
  /// Numbers that rows are made of, as a table r(i): a few, many, or more than a vector, a granule or a row group holds.
  std::string Numbers();
  /// Rows with all columns and `i`, in order; `one` of each key: the first or the last, or all where it is empty.
  std::string Rows(const std::string& one);
  /// The same rows twice: all in order, and `one` of each key.
  std::pair<std::string, std::string> RowsAndOne(const char* one);
  Statement InsertMissing();
  Statement InsertFromItself();
  Statement Upsert();
  /// What an UPDATE sets a column to, from the row that is there.
  std::string NewValue(const Column& column, const std::string& of);
  Statement Update();
  std::string KeysEqual(const std::string& a, const std::string& b) const;
  Statement UpdateFrom();
  Statement Delete();
  Statement DeleteUsing();
  Statement Merge();
  std::string KeyEquals(const std::string& number);
  const char* Operator();
  /// Begins with the column's name.
  std::string Comparison(const Column& column);
  std::string Condition(int depth);

  const bool large_;
  bool first_ = true;  // No rows yet: the first are to be many where any are.
  std::mt19937_64 random_;
  std::vector<Column> key_, values_;
  std::vector<std::string> order_;  // Of all columns in the table.
  int next_ = 0;
};

/// All `from` in `text` as `to`.
std::string Replace(std::string text, const std::string& from, const std::string& to);

}  // namespace sheaf::query
