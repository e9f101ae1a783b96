#include "query/store_testing.h"

#include <utility>

#include <fmt/format.h>

#include "core/check.h"
#include "io/clock.h"
#include "store/snapshots.h"

namespace sheaf::query {

StoredDatabase::StoredDatabase(io::FileSystem* files, std::string directory) : files_(files), directory_(std::move(directory)) {
  const Status opened = Open();
  if (!opened.ok()) fmt::print(stderr, "{}\n", opened.ToString());
  SHEAF_CHECK(opened.ok());
}

StoredDatabase::~StoredDatabase() { (void)Close(); }

Status StoredDatabase::Pass(Event event) {
  switch (event) {
    case Event::kSeal: return database_->Flush();
    case Event::kCold: return database_->MakeCold();
    case Event::kReopen:
      SHEAF_RETURN_NOT_OK(Close());
      return Open();
    case Event::kRestore: return Restore();
  }
  return Status::OK();
}

Status StoredDatabase::Restore() {
  SHEAF_ASSIGN_OR_RETURN(const store::SnapshotInfo made, database_->CreateSnapshot());
  const std::string from = database_->options().directory;
  SHEAF_RETURN_NOT_OK(Close());
  ++restored_;
  SHEAF_RETURN_NOT_OK(store::Restore(files_, io::SystemClock(), from, made.id, fmt::format("{}-{}", directory_, restored_), {}).status());
  SHEAF_RETURN_NOT_OK(store::RemoveTree(files_, from));
  return Open();
}

Status StoredDatabase::Open() {
  store::Options options;
  options.directory = restored_ == 0 ? directory_ : fmt::format("{}-{}", directory_, restored_);
  options.memtable_bytes = 1 << 20;
  options.log_segment_bytes = 1 << 20;
  options.snapshot_interval_ms = 0;
  options.free_space_min_fraction = 0;
  options.compaction_cpu_share = 1;
  SHEAF_ASSIGN_OR_RETURN(database_, store::Database::Open(files_, io::SystemClock(), options));
  SHEAF_ASSIGN_OR_RETURN(engine_, Engine::Open(database_.get(), {.threads = 2, .timeout_ms = 0, .view_wait_ms = 60'000}));
  return Status::OK();
}

Status StoredDatabase::Close() {
  engine_.reset();
  if (database_ == nullptr) return Status::OK();
  const Status closed = database_->Close();
  database_.reset();
  return closed;
}

}  // namespace sheaf::query
