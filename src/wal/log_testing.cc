#include "wal/log_testing.h"

#include <algorithm>
#include <utility>

#include "core/check.h"
#include "core/crc32c.h"
#include "io/sim_testing.h"
#include "wal/recovery.h"
#include "wal/segment_writer.h"

namespace sheaf::wal {

Entry MakeEntry(const std::string& payload, const std::string& batch_id, uint8_t type) {
  return {type, false, batch_id, arrow::Buffer::FromString(payload)};
}

std::string PayloadText(const LoggedEntry& entry) { return entry.entry.payload->ToString(); }

Result<OpenedLog> OpenLog(io::FileSystem* files, io::Clock* clock, const LogOptions& options, Lsn applied, Lsn durable_floor,
                          Log::VisibleCallback on_visible) {
  OpenedLog opened;
  const auto replay = [&](const LoggedEntry& entry) {
    opened.replayed.push_back(PayloadText(entry));
    return Status::OK();
  };
  SHEAF_ASSIGN_OR_RETURN(
      opened.log, Log::Open(files, clock, options, applied, durable_floor, replay, std::move(on_visible), &opened.report));
  return opened;
}

std::future<Result<Lsn>> AppendLater(Log* log, Entry entry) {
  auto promise = std::make_shared<std::promise<Result<Lsn>>>();
  std::future<Result<Lsn>> future = promise->get_future();
  const Status accepted = log->Append(std::move(entry), [promise](Result<Lsn> lsn) { promise->set_value(std::move(lsn)); });
  if (!accepted.ok()) promise->set_value(accepted);
  return future;
}

Result<Lsn> AppendAndWait(Log* log, Entry entry) {
  entry.sender_waits = true;
  return AppendLater(log, std::move(entry)).get();
}

Result<std::vector<std::string>> ReadPayloads(Log* log, Lsn after, Lsn through) {
  std::vector<std::string> payloads;
  SHEAF_RETURN_NOT_OK(log->Read(after, through, [&](const LoggedEntry& entry) {
    payloads.push_back(PayloadText(entry));
    return Status::OK();
  }));
  return payloads;
}

std::vector<std::string> BuildLog(io::FileSystem* files, const LogOptions& options, const std::vector<std::vector<Entry>>& blocks,
                                  const std::vector<size_t>& rolls) {
  SHEAF_CHECK(files->MakeDirectories(options.directory).ok());
  io::SimClock clock;  // Stands still: the same bytes every time.
  SegmentWriter writer(files, &clock, options, Lsn(1), 0);
  std::vector<std::string> names;
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (i == 0 || std::find(rolls.begin(), rolls.end(), i) != rolls.end()) {
      names.push_back(SegmentName(writer.next_lsn()));
      SHEAF_CHECK(writer.Roll({}, options.segment_bytes).ok());
    }
    std::vector<PendingEntry> entries;
    for (const Entry& entry : blocks[i]) {
      const std::span payload(reinterpret_cast<const std::byte*>(entry.payload->data()), static_cast<size_t>(entry.payload->size()));
      entries.push_back({{Lsn(writer.next_lsn().value + entries.size()), clock.NowNs(), entry}, Crc32c(payload)});
    }
    std::vector<const PendingEntry*> group;
    for (const PendingEntry& entry : entries) group.push_back(&entry);
    SHEAF_CHECK(writer.Commit(group, Lsn(writer.next_lsn().value - 1)).ok());
  }
  return names;
}

Result<std::vector<std::string>> RecoverPayloads(io::FileSystem* files, const LogOptions& options, Lsn applied, Lsn durable_floor) {
  std::vector<std::string> payloads;
  const auto replay = [&](const LoggedEntry& entry) {
    payloads.push_back(PayloadText(entry));
    return Status::OK();
  };
  SHEAF_RETURN_NOT_OK(Recover(files, options, applied, durable_floor, replay).status());
  return payloads;
}

}  // namespace sheaf::wal
