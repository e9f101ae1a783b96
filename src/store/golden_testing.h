/// A small database with every kind of file that this version writes: what tests/golden keeps of each version of the formats.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/sim_testing.h"
#include "store/database.h"

namespace sheaf::store {

/// The options of all databases here: nothing happens by itself.
Options GoldenOptions(const std::string& directory);
/// The id of the snapshot that WriteGoldenDatabase() makes, and the batch id of an append before it.
inline constexpr char kGoldenSnapshot[] = "golden";
inline constexpr char kGoldenBatch[] = "golden-1";

/// Makes the database on an empty disk: append and keyed tables, of older columns too, hot and cold parts, delete vectors, batch ids, a
/// snapshot, and behind it rows and changes of tables that only the log has. The same rows each time. It is still open.
std::unique_ptr<Database> WriteGoldenDatabase(io::SimFileSystem* disk, io::SimClock* clock, const std::string& directory);

/// All tables with their columns and rows as lines, in an order of their own.
std::vector<std::string> Listing(const Database& database);

/// Every file below `folder`, relative to it.
std::vector<std::string> FilesBelow(io::FileSystem* files, const std::string& folder);

}  // namespace sheaf::store
