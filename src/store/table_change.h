/// Definitions of tables as pure functions: what is asked for to what is there, with every rule of table.h.
/// Making them durable and switching the rows over is LocalDatabase's affair.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <arrow/type.h>

#include "core/status.h"
#include "store/table.h"

namespace sheaf::store {

/// Most columns of a table, and most bytes of a name.
inline constexpr int kTableColumnsMax = 2000;
inline constexpr size_t kNameBytesMax = 255;

/// A table as asked for, with an id still to be given (0) and version 1. Names of schemas become lower case. Errors: Invalid,
/// NotFound (names the nearest column), Unsupported, Denied (a schema that is not for tables of one's own); the text says what
/// may be done instead.
Result<TableInfo> MakeTable(const NewTable& asked);

/// `table` after `change`, or with nothing changed where `change` says that this is no error (then the same version and
/// schema). Where rows that are there would have to be read differently, the version is one higher, the schema that was goes into
/// the history, and `since` is the new one's beginning. Errors: Invalid, NotFound (names the nearest column), AlreadyExists,
/// Denied (a column of a ready table), Unsupported.
Result<TableInfo> ChangeTable(const TableInfo& table, const AlterTable& change, Lsn since);

/// Whether rows of `after` must be read differently than those of `before`.
inline bool ColumnsChanged(const TableInfo& before, const TableInfo& after) {
  return before.schema_version != after.schema_version;
}

/// Makes `keys` and `rows` of a table whose schema and key columns are set. Errors: Invalid, Unsupported.
Status MakeCodecs(TableInfo* table);

/// The number in a column's metadata; 0: none (a table of an older program, a ready telemetry table).
uint32_t ColumnId(const arrow::Field& field);

/// Position of the column of that name, whatever the case of its letters. Error: NotFound (names the nearest).
Result<int> FindColumn(const TableInfo& table, std::string_view name);

}  // namespace sheaf::store
