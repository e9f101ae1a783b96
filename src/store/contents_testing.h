/// Everything that a database holds, as text: what tests compare before and after crashes and damage.

#pragma once

#include <map>
#include <set>
#include <string>

#include "core/status.h"
#include "io/file_system.h"
#include "store/database.h"

namespace sheaf::store {

/// Tables as SQL would show them: columns, and of each row its values as text, sorted. Snapshots by their names.
struct Contents {
  struct Table {
    std::string columns;
    std::multiset<std::string> rows;
  };
  std::map<std::string, Table> tables;
  std::set<std::string> snapshots;

  std::string Text() const {
    std::string text;
    for (const auto& [name, table] : tables) {
      text += name + ": " + table.columns + "\n";
      for (const std::string& row : table.rows) text += "  " + row + "\n";
    }
    for (const std::string& id : snapshots) text += "snapshot " + id + "\n";
    return text;
  }
};

/// One table, through the sources that SQL scans.
Result<Contents::Table> ReadTable(const Snapshot& snapshot, const TableInfo& info);

/// The tables of schema main, and the snapshots on disk, whose checksums are checked.
Result<Contents> ReadContents(io::FileSystem* files, const std::string& directory, const Database& database);

}  // namespace sheaf::store
