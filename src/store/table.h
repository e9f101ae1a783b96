/// Tables: what one is, and how it is asked for, changed and named.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <arrow/scalar.h>
#include <arrow/type.h>

#include "core/ids.h"
#include "parts/part.h"

namespace sheaf::columns {
class KeyCodec;
class RowCodec;
}  // namespace sheaf::columns

namespace sheaf::store {

/// When an append is answered.
enum class Durability : uint8_t {
  kTable,     // As the table says.
  kBuffered,  // Once it is visible; on disk a little later (Options::buffered_sync_ms). A crash loses the last interval.
  kLocal,     // Once it is on this machine's disk.
};

/// kAppend: rows are added, never changed, and expire. kKeyed: a row of each key, the newest.
enum class TableKind { kAppend, kKeyed };

/// What can be chosen about a table, and changed later. Columns by name.
struct TableSettings {
  std::optional<int64_t> retention_ms;                // By the time column; none: rows stay for ever.
  Durability durability = Durability::kLocal;
  std::vector<std::string> sort;                      // Append tables; empty: by time. Keyed ones are sorted by key.
  std::vector<std::string> filters;                   // Columns that get an id filter in parts.
  std::vector<std::string> tokens;                    // Text columns that get a token index in parts.
  std::string time_column;                            // Timestamp or integer (ns); empty: none.
};

/// How one version of a table's columns was, for rows that were written under it.
struct SchemaVersion {
  uint32_t version = 1;
  Lsn since;                                          // Entries above this LSN are of this version.
  std::shared_ptr<arrow::Schema> schema;
};

/// A table's definition. Immutable; a change makes a new one. Fields carry `sheaf.column_id` in their metadata: a number
/// that stays with a column when it is renamed and is not given to another.
struct TableInfo {
  TableId id;
  std::string schema_name, name;                      // "otel", "traces"
  TableKind kind = TableKind::kAppend;
  uint32_t schema_version = 1;
  std::shared_ptr<arrow::Schema> schema;              // Physical.
  parts::Layout layout;
  std::optional<int64_t> retention_ms;                // By the time column; none: kept for ever.
  Durability durability = Durability::kLocal;         // Of appends that say kTable.

  std::vector<int> key_columns;                       // PRIMARY KEY, in key order; empty: an append table.
  std::shared_ptr<const columns::KeyCodec> keys;      // Null: an append table.
  std::shared_ptr<const columns::RowCodec> rows;      // Null: the columns are not flat; no compact rows then.
  std::vector<std::shared_ptr<arrow::Scalar>> defaults;  // One a column: what an INSERT without it puts; null pointer: NULL.
                                                      // May be shorter than the schema: no defaults behind.
  std::vector<std::shared_ptr<arrow::Scalar>> fills;  // One a column, or fewer: what rows from before the column was added have in it;
                                                      // null pointer: NULL. Stays when the default changes.
  Lsn since;                                          // Entries above this LSN are of schema_version.
  std::vector<SchemaVersion> history;                 // Older versions of the schema, oldest first.
  uint32_t next_column_id = 1;
};

/// A table to be made. Error of what cannot be: Invalid or Unsupported, with the reason.
struct NewTable {
  std::string schema_name, name;                      // Names are case-insensitive, and keep the case they are given in.
  std::shared_ptr<arrow::Schema> schema;              // Names, types, nullability; metadata is not kept.
  std::vector<std::string> primary_key;               // Empty: an append table.
  std::vector<std::shared_ptr<arrow::Scalar>> defaults = {};  // As in TableInfo.
  TableSettings settings = {};
  bool if_not_exists = false;                         // Answers with the table that is there.
  bool or_replace = false;                            // Drops the table that is there, with its rows.
  bool internal = false;                              // The engine's own, in a schema that others cannot make tables in.
};

/// One change of a table's definition.
struct AlterTable {
  enum class Kind : uint8_t {
    kAddColumn,     // `field`, `default_value`: rows that are there have the default; without one NULL.
    kDropColumn,    // `column`. Invalid: a key column, the time column, the last one.
    kRenameColumn,  // `column`, `new_name`.
    kWidenColumn,   // `column`, `field`'s type. Invalid: narrowing, a key column.
    kSetDefault,    // `column`, `default_value`; null: no default any more. Rows that are there stay as they are.
    kSetNullable,   // `column`: NULLs are allowed from now on.
    kRenameTable,   // `new_name`; the schema name stays.
    kSetSettings,   // `settings`, all of them.
  };
  Kind kind = Kind::kAddColumn;
  std::string column = {};
  std::shared_ptr<arrow::Field> field = {};
  std::string new_name = {};
  std::shared_ptr<arrow::Scalar> default_value = {};
  TableSettings settings = {};
  bool if_exists = false, if_not_exists = false;      // Of the column: nothing to do is no error then.
};

/// The settings a table has now, for changing some of them.
TableSettings SettingsOf(const TableInfo& table);

}  // namespace sheaf::store
