/// A real store with its engine, for tests of SQL, and what may happen to a store between two statements without any statement
/// being able to tell.

#pragma once

#include <array>
#include <memory>
#include <string>

#include "core/status.h"
#include "io/file_system.h"
#include "query/engine.h"
#include "store/database.h"

namespace sheaf::query {

/// Small memtables and log segments, and merges as soon as there is something to merge. One thread at a time.
class StoredDatabase {
 public:
  enum class Event {
    kSeal,     // All rows become parts; merges follow in the background.
    kCold,     // Parts become Parquet.
    kReopen,   // Closed, and recovered from what is on disk.
    kRestore,  // A snapshot is restored to another directory, where all goes on.
  };
  static constexpr std::array kEvents = {Event::kSeal, Event::kCold, Event::kReopen, Event::kRestore};

  /// Opens a new database in `directory` of `files`, which outlives it. Aborts where that fails.
  StoredDatabase(io::FileSystem* files, std::string directory);
  ~StoredDatabase();

  /// Both are others after an event.
  store::Database* database() { return database_.get(); }
  Engine* engine() { return engine_.get(); }

  Status Pass(Event event);

 private:
  Status Open();
  Status Close();
  Status Restore();

  io::FileSystem* const files_;
  const std::string directory_;
  int restored_ = 0;
  std::unique_ptr<store::Database> database_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace sheaf::query
