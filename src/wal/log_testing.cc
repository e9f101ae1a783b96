#include "wal/log_testing.h"

#include <utility>

namespace sheaf::wal {

Entry MakeEntry(const std::string& payload, const std::string& batch_id, uint8_t type) {
  return {type, batch_id, arrow::Buffer::FromString(payload)};
}

std::string PayloadText(const LoggedEntry& entry) { return entry.entry.payload->ToString(); }

Result<OpenedLog> OpenLog(io::FileSystem* files, io::Clock* clock, const LogOptions& options, Lsn applied, Lsn durable_floor,
                          Log::DurableCallback on_durable) {
  OpenedLog opened;
  const auto replay = [&](const LoggedEntry& entry) {
    opened.replayed.push_back(PayloadText(entry));
    return Status::OK();
  };
  SHEAF_ASSIGN_OR_RETURN(opened.log, Log::Open(files, clock, options, applied, durable_floor, replay, std::move(on_durable), &opened.report));
  return opened;
}

std::future<Result<Lsn>> AppendLater(Log* log, Entry entry) {
  auto promise = std::make_shared<std::promise<Result<Lsn>>>();
  std::future<Result<Lsn>> future = promise->get_future();
  const Status accepted = log->Append(std::move(entry), [promise](Result<Lsn> lsn) { promise->set_value(std::move(lsn)); });
  if (!accepted.ok()) promise->set_value(accepted);
  return future;
}

Result<Lsn> AppendAndWait(Log* log, Entry entry) { return AppendLater(log, std::move(entry)).get(); }

Result<std::vector<std::string>> ReadPayloads(Log* log, Lsn after, Lsn through) {
  std::vector<std::string> payloads;
  SHEAF_RETURN_NOT_OK(log->Read(after, through, [&](const LoggedEntry& entry) {
    payloads.push_back(PayloadText(entry));
    return Status::OK();
  }));
  return payloads;
}

}  // namespace sheaf::wal
