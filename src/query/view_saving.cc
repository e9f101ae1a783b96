/// View: what it keeps, on disk and back.

#include <algorithm>
#include <deque>
#include <utility>

#include "duckdb/common/serializer/binary_deserializer.hpp"
#include "duckdb/common/serializer/binary_serializer.hpp"
#include "duckdb/common/serializer/memory_stream.hpp"
#include <fmt/format.h>

#include "core/log.h"
#include "query/error_map.h"
#include "query/view.h"

namespace sheaf::query {

namespace {

using SteadyClock = std::chrono::steady_clock;

/// A state that changes is written this often, and a large one so seldom that it takes no more than so much a second.
constexpr auto kSaveInterval = std::chrono::seconds(10);
constexpr int64_t kSaveBytesPerSecond = int64_t{8} << 20;
/// So many entries of the log are kept for a state that they do not change.
constexpr uint64_t kEntriesBehindMax = 256;
/// A piece of a state is about this long at most, but for that of one group.
constexpr size_t kChunkBytesMax = size_t{32} << 20;
/// After so many the log is not kept for the view any more.
constexpr int kFailedSavesMax = 3;
/// A larger state is not written once more at the end: the next start takes the rest from the log.
constexpr int64_t kClosingBytesMax = int64_t{64} << 20;

std::string ToBytes(const duckdb::DataChunk& chunk) {
  duckdb::MemoryStream stream(duckdb::Allocator::DefaultAllocator());
  duckdb::BinarySerializer serializer(stream);
  serializer.Begin();
  chunk.Serialize(serializer);
  serializer.End();
  return {reinterpret_cast<const char*>(stream.GetData()), stream.GetPosition()};
}

/// One string, or several where it would be long.
void AddBytes(duckdb::DataChunk& chunk, std::deque<std::string>* strings) {
  if (chunk.size() == 0) return;
  std::string bytes = ToBytes(chunk);
  if (bytes.size() <= kChunkBytesMax || chunk.size() == 1) return strings->push_back(std::move(bytes));
  bytes = std::string();
  const duckdb::idx_t half = chunk.size() / 2;
  for (const auto& [begin, end] : {std::pair(duckdb::idx_t{0}, half), std::pair(half, chunk.size())}) {
    duckdb::DataChunk part;
    part.Initialize(duckdb::Allocator::DefaultAllocator(), chunk.GetTypes());
    for (size_t i = 0; i < chunk.ColumnCount(); ++i) duckdb::VectorOperations::Copy(chunk.data[i], part.data[i], end, begin, 0);
    part.SetCardinality(end - begin);
    AddBytes(part, strings);
  }
}

void FromBytes(std::string_view bytes, duckdb::ClientContext& context, duckdb::DataChunk* chunk) {
  duckdb::MemoryStream stream(reinterpret_cast<duckdb::data_ptr_t>(const_cast<char*>(bytes.data())), bytes.size());
  duckdb::BinaryDeserializer deserializer(stream);
  deserializer.Set<duckdb::ClientContext&>(context);
  deserializer.Begin();
  chunk->Deserialize(deserializer);
  deserializer.End();
}

}  // namespace

ViewStates::Owner View::owner() const {
  return {.schema_name = definition_.schema_name,
          .name = definition_.name,
          .identity = fmt::format("{} DuckDB {}\n{}\n{}", definition_.created_ns, duckdb::DuckDB::SourceID(),
                                  definition_.watermark ? definition_.watermark->sql() : "", plan_.fingerprint())};
}

Result<Lsn> View::Restore(const std::shared_ptr<const store::Snapshot>& snapshot) {
  if (is_refreshed() || !unsaved_because_.empty()) return Lsn();
  const auto began = SteadyClock::now();
  SHEAF_ASSIGN_OR_RETURN(const auto head, states_.Find(*snapshot, owner()));
  if (!head || head->lsn > snapshot->lsn()) return Lsn();
  // Whether what is behind it is there and can be taken is looked at before the state is read.
  SHEAF_ASSIGN_OR_RETURN(const Changes changes, ReadChanges(head->lsn, snapshot->lsn(), head->progress));
  if (!changes.keys.empty()) {
    return MakeError(ErrorKind::kUnsupported, "rows of keyed tables changed after its state was saved, and what they were is not known");
  }
  std::unique_ptr<ViewState> state;
  SHEAF_RETURN_NOT_OK(WithoutExceptions([&]() -> Status {
    state = NewState(plan_);
    return states_.Read(*snapshot, owner(), *head, [&](std::string_view bytes) -> Status {
      session_->connection->context->RunFunctionInTransaction([&] {
        duckdb::DataChunk chunk;
        FromBytes(bytes, *session_->connection->context, &chunk);
        state->Load(chunk);
      });
      return Status::OK();
    });
  }));
  saved_ = head;
  saved_at_ = SteadyClock::now();
  unsaved_changes_ = false;
  before_ = plan_.keyed_tables.empty() ? nullptr : snapshot;
  LogInfo("view.restored", {{"view", definition_.full_name()},
                            {"saved_lsn", head->lsn},
                            {"lsn", snapshot->lsn()},
                            {"groups", state->groups()},
                            {"seconds", std::chrono::duration<double>(saved_at_ - began).count()}});
  {
    MutexLock lock(&mutex_);
    counts_.saved_lsn = head->lsn;
    counts_.saved_bytes = head->bytes;
  }
  Replace(std::move(state), nullptr, head->lsn, head->progress);
  MutexLock lock(&mutex_);
  restored_ = true;
  return head->lsn;
}

Status View::SaveIfDue(SteadyClock::time_point now, bool closing) {
  if (is_refreshed() || !unsaved_because_.empty()) return Status::OK();
  MutexLock following(&following_mutex_);
  Lsn lsn;
  Watermark::Progress progress;
  {
    MutexLock lock(&mutex_);
    if (!built_ || broken_ || !error_.ok()) return Status::OK();
    lsn = lsn_;
    progress = watermark_.progress();
  }
  const int64_t bytes = saved_ ? saved_->bytes : 0;
  const auto pause = kSaveInterval + std::chrono::milliseconds(bytes / (kSaveBytesPerSecond / 1000));
  if (saved_ && (closing ? bytes > kClosingBytesMax : now - saved_at_ < pause)) return Status::OK();
  if (saved_ && !unsaved_changes_ && lsn.value <= saved_->lsn.value + kEntriesBehindMax) return Status::OK();
  saved_at_ = now;  // Also of a try that fails.
  const Status saved = saved_ && !unsaved_changes_ ? states_.Advance(owner(), lsn, progress, &*saved_) : Save();
  MutexLock lock(&mutex_);
  if (!saved.ok()) {
    if (++failed_saves_ >= kFailedSavesMax) counts_.saved_lsn.reset();  // The log is not kept for ever.
    return saved;
  }
  failed_saves_ = 0;
  counts_.saved_lsn = saved_->lsn;
  counts_.saved_bytes = saved_->bytes;
  return Status::OK();
}

Status View::Save() {
  Lsn lsn;
  Watermark::Progress progress;
  ViewState* state = nullptr;
  {
    MutexLock lock(&mutex_);  // Who follows is this thread: until it returns, others only take results.
    lsn = lsn_;
    progress = watermark_.progress();
    state = state_.get();
  }
  std::unique_ptr<ViewState::Cursor> cursor;
  std::deque<std::string> ready;
  const auto next = [&]() -> Result<std::string> {
    SHEAF_RETURN_NOT_OK(WithoutExceptions([&] {
      if (!cursor) cursor = std::make_unique<ViewState::Cursor>(*state);
      MutexLock lock(&mutex_);  // Readers come in between.
      duckdb::DataChunk chunk;
      while (ready.empty() && state->SaveNext(cursor.get(), &chunk)) AddBytes(chunk, &ready);
      return Status::OK();
    }));
    if (ready.empty()) return std::string();
    std::string bytes = std::move(ready.front());
    ready.pop_front();
    return bytes;
  };
  SHEAF_ASSIGN_OR_RETURN(saved_, states_.Write(owner(), lsn, progress, next));
  unsaved_changes_ = false;
  return Status::OK();
}

std::optional<Lsn> View::log_needed_after() const {
  if (is_refreshed()) return std::nullopt;
  MutexLock lock(&mutex_);
  if (!error_.ok()) return std::nullopt;  // It is computed anew.
  if (!built_) return Lsn();              // It may have a state on disk to go on from.
  return counts_.saved_lsn ? std::min(*counts_.saved_lsn, lsn_) : lsn_;
}

}  // namespace sheaf::query
