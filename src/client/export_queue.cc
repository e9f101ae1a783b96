#include "client/export_queue.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "core/log.h"
#include "io/boot_id.h"
#include "wal/segments.h"

namespace sheaf::client {
namespace {

constexpr uint8_t kEntryType = 1;
constexpr int64_t kSegmentBytesMin = int64_t{1} << 20, kSegmentBytesMax = int64_t{64} << 20;
constexpr int64_t kNever = INT64_MAX;
constexpr int64_t kAppendingBytesMax = int64_t{64} << 20;  // On their way to the log; a larger request goes alone.
constexpr int64_t kEntryBytesMax = 4096;  // Of the log, beside the payload: a block of its own for one entry.

/// Start of an entry's payload. Little-endian.
struct EntryHead {
  uint8_t version;
  uint8_t kind;
  uint16_t reserved;
  uint32_t reserved2;
  int64_t rows;
};
static_assert(sizeof(EntryHead) == 16);
constexpr uint8_t kEntryVersion = 1;

columns::AdaptiveBatcher::Options PolicyOf(const ExportQueueOptions& options) {
  const ExportBatching& batching = options.batching;
  return {.bounds = {.min = {1, 1},
                     .wait_ns = std::max<int64_t>(batching.wait_ns_max, 0),
                     .max = {std::max<int64_t>(batching.rows_max, 1), std::max<int64_t>(batching.bytes_max, 1)}},
          .latency_target_ns = std::max<int64_t>(batching.latency_target_ns, 1),
          .memory_bytes_max = std::max<int64_t>(options.memory_bytes_max, 1),
          .flushers = std::max(batching.flushers, 1)};
}

}  // namespace

wal::Entry MakeQueueEntry(wire::OtlpRequest kind, int64_t rows, std::string_view request) {
  const EntryHead head{.version = kEntryVersion, .kind = static_cast<uint8_t>(kind), .reserved = 0, .reserved2 = 0, .rows = rows};
  std::string payload;
  payload.reserve(sizeof head + request.size());
  payload.append(reinterpret_cast<const char*>(&head), sizeof head).append(request);
  wal::Entry entry;
  entry.type = kEntryType;
  entry.payload = arrow::Buffer::FromString(std::move(payload));
  return entry;
}

Result<QueuedRequest> ReadQueueEntry(const wal::Entry& entry) {
  EntryHead head{};
  if (entry.type != kEntryType || entry.payload == nullptr || entry.payload->size() < static_cast<int64_t>(sizeof head)) {
    return MakeError(ErrorKind::kCorruption, "this is no entry of an export queue");
  }
  std::memcpy(&head, entry.payload->data(), sizeof head);
  if (head.version != kEntryVersion) {
    return MakeError(ErrorKind::kUnsupported, "the queue's entry is of version {}; this program knows {}", head.version, kEntryVersion);
  }
  if (head.kind > static_cast<uint8_t>(wire::OtlpRequest::kMetrics) || head.rows < 0) {
    return MakeError(ErrorKind::kCorruption, "the queue's entry has kind {} and {} rows", head.kind, head.rows);
  }
  QueuedRequest request;
  request.kind = static_cast<wire::OtlpRequest>(head.kind);
  request.rows = head.rows;
  request.bytes = entry.payload->size() - static_cast<int64_t>(sizeof head);
  request.request = arrow::SliceBuffer(entry.payload, sizeof head);
  return request;
}

ExportQueue::ExportQueue(const ExportQueueOptions& options, io::FileSystem* files, io::Clock* clock)
    : options_(options),
      files_(files),
      clock_(clock),
      lanes_{Lane{columns::AdaptiveBatcher(PolicyOf(options)), {}}, Lane{columns::AdaptiveBatcher(PolicyOf(options)), {}},
             Lane{columns::AdaptiveBatcher(PolicyOf(options)), {}}} {}

ExportQueue::~ExportQueue() {
  const Status closed = Close();
  if (!closed.ok()) LogError("export.queue_close_failed", {{"error", closed.ToString()}});
}

Result<std::unique_ptr<ExportQueue>> ExportQueue::Open(const ExportQueueOptions& options, io::FileSystem* files, io::Clock* clock,
                                                       ExportQueueReport* report) {
  *report = {};
  std::unique_ptr<ExportQueue> queue(new ExportQueue(options, files, clock));
  if (!options.directory.empty()) SHEAF_RETURN_NOT_OK(queue->OpenLog(report));
  return queue;
}

Status ExportQueue::OpenLog(ExportQueueReport* report) {
  SHEAF_RETURN_NOT_OK(files_->MakeDirectories(options_.directory));
  SHEAF_ASSIGN_OR_RETURN(lock_, files_->Lock(io::Join(options_.directory, "LOCK")));
  SHEAF_ASSIGN_OR_RETURN(auto progress, ExportProgress::Open(files_, io::Join(options_.directory, "DELIVERED"),
                                                             options_.boot_id.empty() ? io::BootId() : options_.boot_id));
  const bool trusted = progress->trusted();
  report->progress_lost = !trusted;
  {
    MutexLock lock(&mutex_);
    progress_ = std::move(progress);
    window_ = progress_->window();
  }
  SHEAF_ASSIGN_OR_RETURN(const uint64_t through, RemovedThrough(trusted));
  uint64_t highest = 0;  // What was sent was durable before.
  {
    MutexLock lock(&mutex_);
    window_->AdvanceTo(through);
    first_ = next_out_of_reach_ = window_->through() + 1;
    highest = window_->highest();
  }
  segment_bytes_ = std::clamp(options_.bytes_max / 8, kSegmentBytesMin, kSegmentBytesMax);
  wal::LogOptions log;
  log.directory = io::Join(options_.directory, "log");
  log.segment_bytes = segment_bytes_;
  log.queue_bytes_max = std::min(options_.bytes_max, kAppendingBytesMax);
  wal::RecoveryReport recovery;
  SHEAF_ASSIGN_OR_RETURN(
      log_, wal::Log::Open(
                files_, clock_, log, Lsn(through), Lsn(highest), [&](const wal::LoggedEntry& entry) { return Replay(entry, report); },
                [this](const wal::LoggedEntry& entry) {
                  QueuedRequest request = ReadQueueEntry(entry.entry).ValueOrDie();  // We made it.
                  request.number = entry.lsn.value;
                  request.time_ns = entry.time_ns;
                  Add(std::move(request));
                },
                &recovery));
  const uint64_t last = log_->durable_lsn().value;
  if (last < through) {
    return MakeError(ErrorKind::kCorruption,
                     "{}: the log ends at {}, before what was delivered ({}): they are not of one queue. Remove the folder to begin anew",
                     options_.directory, last, through);
  }
  report->progress_lost = report->progress_lost && report->requests > 0;
  MutexLock lock(&mutex_);
  if (slots_.empty()) window_->AdvanceTo(last);  // All that the log ever held is delivered, though the progress may be older.
  PopDelivered();
  FillLanes();
  return progress_->Start(last);
}

/// Up to where the log's entries are not wanted any more: what was delivered, or what was removed from the log in a life whose progress is
/// lost. Where the progress is trusted, a log that begins later has lost something, which wal says.
Result<uint64_t> ExportQueue::RemovedThrough(bool trusted) {
  uint64_t through = 0;
  {
    MutexLock lock(&mutex_);
    through = window_->through();
  }
  if (trusted) return through;
  SHEAF_ASSIGN_OR_RETURN(const auto segments, wal::ListSegments(files_, io::Join(options_.directory, "log")));
  if (segments.empty() || segments[0].first.value <= through + 1) return through;
  LogWarn("export.progress_behind", {{"queue", options_.directory},
                                     {"delivered_through", through},
                                     {"log_begins_at", segments[0].first.value},
                                     {"effect", "what is missing in the log counts as delivered"}});
  return segments[0].first.value - 1;
}

Status ExportQueue::Replay(const wal::LoggedEntry& entry, ExportQueueReport* report) {
  Result<QueuedRequest> read = ReadQueueEntry(entry.entry);
  if (!read.ok()) return WithContext(read.status(), fmt::format("{}, entry {}", options_.directory, entry.lsn.value));
  QueuedRequest request = *std::move(read);
  request.number = entry.lsn.value;
  request.time_ns = entry.time_ns;
  MutexLock lock(&mutex_);
  if (request.number < first_) return Status::OK();
  request.perhaps_sent = progress_->perhaps_sent(request.number);
  const bool delivered = window_->delivered(request.number);
  if (!delivered) {
    ++report->requests;
    report->rows += request.rows;
    report->perhaps_sent += request.perhaps_sent ? 1 : 0;
  }
  // A copy, and only of what stays in memory: the payload is a slice of a large piece of the log.
  const bool stays = !delivered && memory_bytes_ + request.bytes <= options_.memory_bytes_max;
  request.request = stays ? arrow::Buffer::FromString(request.request->ToString()) : nullptr;
  AddLocked(std::move(request));
  return Status::OK();
}

void ExportQueue::Add(QueuedRequest request) {
  MutexLock lock(&mutex_);
  pending_bytes_ -= request.bytes;
  --pending_requests_;
  AddLocked(std::move(request));
  FillLanes();
}

void ExportQueue::AddLocked(QueuedRequest request) {
  SHEAF_CHECK(request.number == first_ + slots_.size());
  Slot slot;
  if (window_->delivered(request.number)) {
    slot.place = Place::kDelivered;
    request.request = nullptr;
    slot.request = std::move(request);
    slots_.push_back(std::move(slot));
    return;
  }
  ++requests_;
  rows_ += request.rows;
  bytes_ += request.bytes;
  if (request.request == nullptr || (progress_ != nullptr && memory_bytes_ + request.bytes > options_.memory_bytes_max)) {
    request.request = nullptr;  // It is in the log.
  } else {
    memory_bytes_ += request.bytes;
  }
  slot.request = std::move(request);
  slots_.push_back(std::move(slot));
}

/// What came into the window's reach waits to be sent.
void ExportQueue::FillLanes() {
  next_out_of_reach_ = std::max(next_out_of_reach_, first_);
  const int64_t now_ns = clock_->MonotonicNs();
  for (; next_out_of_reach_ - first_ < slots_.size() && window_->InReach(next_out_of_reach_); ++next_out_of_reach_) {
    Slot& slot = At(next_out_of_reach_);
    if (slot.place != Place::kOutOfReach) continue;
    slot.place = Place::kWaiting;
    Lane& lane = LaneOf(slot.request.kind);
    lane.batcher.Add({.rows = slot.request.rows, .bytes = slot.request.bytes}, now_ns);
    lane.waiting.push_back(next_out_of_reach_);
  }
}

ExportQueue::Slot& ExportQueue::At(uint64_t number) {
  SHEAF_CHECK(number >= first_ && number - first_ < slots_.size());
  return slots_[static_cast<size_t>(number - first_)];
}

Status ExportQueue::AdmitLocked(int64_t bytes) const {
  if (closed_) return MakeError(ErrorKind::kUnavailable, "the export queue is closed");
  SHEAF_RETURN_NOT_OK(broken_);
  const int64_t limit = log_ != nullptr ? options_.bytes_max : std::min(options_.bytes_max, options_.memory_bytes_max);
  const int64_t most = std::min(limit, wal::kPayloadBytesMax - static_cast<int64_t>(sizeof(EntryHead)));
  if (bytes > most) {
    return MakeError(ErrorKind::kTooLarge, "a request of {} bytes does not fit into the export queue: at most {}", bytes, most);
  }
  if (bytes_ + pending_bytes_ + bytes > limit || requests_ + pending_requests_ >= options_.requests_max) {
    return MakeError(ErrorKind::kThrottled, "the export queue is full: {} requests of {} bytes wait; at most {} and {}",
                     requests_ + pending_requests_, bytes_ + pending_bytes_, options_.requests_max, limit);
  }
  // The log goes back to the oldest request that is not delivered, whatever of the later ones is.
  if (log_ != nullptr && log_->disk_bytes() > options_.bytes_max + segment_bytes_) {
    return MakeError(ErrorKind::kThrottled, "the export queue is full: its log has {} bytes, back to its oldest request; {} requests wait",
                     log_->disk_bytes(), requests_ + pending_requests_);
  }
  return Status::OK();
}

Status ExportQueue::Admit(int64_t bytes) const {
  MutexLock lock(&mutex_);
  return AdmitLocked(bytes);
}

Status ExportQueue::Enqueue(wire::OtlpRequest kind, int64_t rows, std::string_view request, Done done) {
  const auto bytes = static_cast<int64_t>(request.size());
  {
    MutexLock lock(&mutex_);
    SHEAF_RETURN_NOT_OK(AdmitLocked(bytes));
    if (log_ == nullptr) {
      QueuedRequest queued{.number = first_ + slots_.size(), .kind = kind, .rows = rows, .bytes = bytes, .time_ns = clock_->NowNs(),
                           .request = arrow::Buffer::FromString(std::string(request))};
      AddLocked(std::move(queued));
      FillLanes();
    } else {
      pending_bytes_ += bytes;
      ++pending_requests_;
    }
  }
  if (log_ == nullptr) {
    done(Status::OK());
    Changed();
    return Status::OK();
  }
  const Status appended = log_->Append(MakeQueueEntry(kind, rows, request), [this, bytes, done = std::move(done)](Result<Lsn> lsn) {
    NoteAppended(bytes, lsn.status());
    done(lsn.status());
    if (lsn.ok()) Changed();
  });
  NoteAppended(bytes, appended);
  return appended;
}

/// Nothing where it went well: the request is there then, or on its way.
void ExportQueue::NoteAppended(int64_t bytes, const Status& status) {
  if (status.ok()) return;
  MutexLock lock(&mutex_);
  pending_bytes_ -= bytes;
  --pending_requests_;
  // After a failed sync nobody knows what is on disk, and the log takes nothing more.
  if (KindOf(status) != ErrorKind::kUnknown || !broken_.ok()) return;
  broken_ = MakeError(ErrorKind::kUnavailable, "the queue {} cannot be written any more, until the program is started anew: {}",
                      options_.directory, status.message());
  LogError("export.queue_broken", {{"queue", options_.directory}, {"error", status.message()}, {"advice", "start the program anew"}});
}

Status ExportQueue::health() const {
  MutexLock lock(&mutex_);
  return broken_;
}

void ExportQueue::PutInto(ExportBatch* batch, uint64_t number) {
  Slot& slot = At(number);
  slot.place = Place::kTaken;
  batch->requests.push_back(slot.request);
  batch->rows += slot.request.rows;
  batch->bytes += slot.request.bytes;
}

/// Those whose time came first, as many of them as were put off together.
bool ExportQueue::TakePutOff(int64_t now_ns, ExportBatch* batch, int64_t* due_ns) {
  if (put_off_.empty()) return false;
  const auto [not_before_ns, number] = *put_off_.begin();
  if (not_before_ns > now_ns) {
    *due_ns = std::min(*due_ns, not_before_ns);
    return false;
  }
  const auto kind = At(number).request.kind;
  const size_t join_max = At(number).join_max;
  while (!put_off_.empty() && batch->requests.size() < join_max) {
    const auto [time_ns, next] = *put_off_.begin();
    if (time_ns != not_before_ns || At(next).request.kind != kind) break;
    put_off_.erase(put_off_.begin());
    PutInto(batch, next);
  }
  return true;
}

bool ExportQueue::TakeWaiting(int64_t now_ns, bool flush, ExportBatch* batch, int64_t* due_ns) {
  Lane* oldest = nullptr;  // Of those that have a batch to give.
  for (Lane& lane : lanes_) {
    if (lane.batcher.empty()) continue;
    if (!flush && lane.batcher.Due(now_ns) == columns::BatchReason::kNone) {
      *due_ns = std::min(*due_ns, lane.batcher.DeadlineNs());
    } else if (oldest == nullptr || lane.waiting.front() < oldest->waiting.front()) {
      oldest = &lane;
    }
  }
  if (oldest == nullptr) return false;
  const size_t requests = oldest->batcher.Take(now_ns, &batch->flush.emplace());
  for (size_t i = 0; i < requests; ++i) {
    PutInto(batch, oldest->waiting.front());
    oldest->waiting.pop_front();
  }
  return true;
}

Result<std::optional<ExportBatch>> ExportQueue::Take(bool flush, int64_t* due_ns) {
  ExportBatch batch;
  {
    MutexLock lock(&mutex_);
    if (closed_) return MakeError(ErrorKind::kUnavailable, "the export queue is closed");
    const int64_t now_ns = clock_->MonotonicNs();
    *due_ns = kNever;
    if (!TakePutOff(now_ns, &batch, due_ns) && !TakeWaiting(now_ns, flush, &batch, due_ns)) return std::nullopt;
  }
  Load(&batch);
  return batch;
}

void ExportQueue::FlushEnded(const ExportBatch& batch, std::optional<int64_t> latency_ns) {
  if (!batch.flush) return;
  const auto kind = batch.requests.empty() ? batch.unreadable[0].first.kind : batch.requests[0].kind;
  MutexLock lock(&mutex_);
  columns::AdaptiveBatcher& batcher = LaneOf(kind).batcher;
  latency_ns ? batcher.Flushed(*batch.flush, *latency_ns, clock_->MonotonicNs()) : batcher.Dropped(*batch.flush);
}

/// Fetches from the log what memory does not hold. What cannot be read is set apart, and alone: its neighbours can.
void ExportQueue::Load(ExportBatch* batch) {
  const auto missing = [](const QueuedRequest& request) { return request.request == nullptr; };
  std::vector<QueuedRequest>& requests = batch->requests;
  const auto first = std::find_if(requests.begin(), requests.end(), missing);
  if (first == requests.end()) return;
  auto last = first;
  for (auto request = first; request != requests.end(); ++request) last = missing(*request) ? request : last;
  if (ReadInto({first, last + 1}).ok()) return;
  std::vector<QueuedRequest> readable;
  for (QueuedRequest& request : requests) {
    const Status read = missing(request) ? ReadInto({&request, 1}) : Status::OK();
    if (read.ok()) {
      readable.push_back(std::move(request));
      continue;
    }
    batch->rows -= request.rows;
    batch->bytes -= request.bytes;
    batch->unreadable.emplace_back(std::move(request), WithContext(read, "reading the export queue " + options_.directory));
  }
  requests = std::move(readable);
}

/// Reads those of `requests`, which are in order, that memory does not hold. Errors: those of wal::Log::Read(), Corruption.
Status ExportQueue::ReadInto(std::span<QueuedRequest> requests) {
  auto next = requests.begin();
  const Status visited = log_->Read(Lsn(requests.front().number - 1), Lsn(requests.back().number), [&](const wal::LoggedEntry& entry) {
    while (next != requests.end() && next->number < entry.lsn.value) ++next;
    if (next == requests.end() || next->number != entry.lsn.value || next->request != nullptr) return Status::OK();
    SHEAF_ASSIGN_OR_RETURN(const QueuedRequest read, ReadQueueEntry(entry.entry));
    // Copied: the payload is a slice of a larger piece of the log.
    next->request = arrow::Buffer::FromString(read.request->ToString());
    return Status::OK();
  });
  SHEAF_RETURN_NOT_OK(visited);
  for (const QueuedRequest& request : requests) {
    if (request.request == nullptr) return MakeError(ErrorKind::kCorruption, "entry {} is not in the log", request.number);
  }
  return Status::OK();
}

Status ExportQueue::WriteProgress() {
  if (progress_ == nullptr) return Status::OK();
  const Status written = progress_->Write();
  if (!written.ok() && !std::exchange(progress_failed_, true)) {
    LogError("export.progress_not_written", {{"error", written.ToString()}, {"effect", "after a restart requests may be sent twice"}});
  }
  if (written.ok()) progress_failed_ = false;
  return written;
}

void ExportQueue::NoteBegun(std::span<const QueuedRequest> requests) {
  MutexLock lock(&mutex_);
  for (const QueuedRequest& request : requests) window_->Begin(request.number);
  (void)WriteProgress();  // Said, and tried again with the next.
}

void ExportQueue::NoteNotTaken(std::span<const QueuedRequest> requests) {
  MutexLock lock(&mutex_);
  for (const QueuedRequest& request : requests) {
    if (!request.perhaps_sent) window_->Undo(request.number);
  }
  (void)WriteProgress();  // Said, and tried again with the next.
}

void ExportQueue::NoteDelivered(std::span<const QueuedRequest> requests) {
  {
    MutexLock lock(&mutex_);
    for (const QueuedRequest& request : requests) {
      Slot& slot = At(request.number);
      SHEAF_CHECK(slot.place == Place::kTaken);
      slot.place = Place::kDelivered;
      --requests_;
      rows_ -= request.rows;
      bytes_ -= request.bytes;
      if (slot.request.request != nullptr) memory_bytes_ -= request.bytes;
      slot.request.request = nullptr;
      window_->Deliver(request.number);
    }
    (void)WriteProgress();  // Said, and tried again with the next.
    PopDelivered();
    FillLanes();
  }
  Changed();
  TruncateIfWorthwhile();
}

void ExportQueue::PopDelivered() {
  while (!slots_.empty() && first_ <= window_->through()) {
    passed_bytes_ += slots_.front().request.bytes + kEntryBytesMax;
    slots_.pop_front();
    ++first_;
  }
}

bool ExportQueue::PutOff(std::span<const QueuedRequest> requests, int64_t not_before_ns, size_t join_max, bool always) {
  {
    MutexLock lock(&mutex_);
    if (!always && !put_off_.empty() && put_off_.size() + requests.size() > kPutOffMax) return false;
    for (const QueuedRequest& request : requests) {
      Slot& slot = At(request.number);
      SHEAF_CHECK(slot.place == Place::kTaken);
      slot.place = Place::kPutOff;
      slot.join_max = std::max<size_t>(join_max, 1);
      slot.request.perhaps_sent = request.perhaps_sent;
      slot.request.attempts = request.attempts;
      slot.request.others_sent = request.others_sent;
      put_off_.emplace(not_before_ns, request.number);
    }
  }
  Changed();
  return true;
}

void ExportQueue::TruncateIfWorthwhile() {
  if (log_ == nullptr || truncating_.exchange(true)) return;
  std::optional<uint64_t> through;
  {
    MutexLock lock(&mutex_);
    if (passed_bytes_ >= segment_bytes_ / 2) {
      through = window_->through();
      passed_bytes_ = 0;
    }
  }
  if (through) {
    Status truncated = SyncProgress(&*through);
    if (truncated.ok()) truncated = log_->TruncateThrough(Lsn(*through));
    if (!truncated.ok()) LogWarn("export.log_not_truncated", {{"error", truncated.ToString()}});
  }
  truncating_ = false;
}

/// Puts on disk up to where everything is delivered, before the log forgets it: else a loss of power leaves a log that begins too late.
Status ExportQueue::SyncProgress(uint64_t* through) {
  ExportProgress* progress = nullptr;
  {
    MutexLock lock(&mutex_);
    if (closed_) return MakeError(ErrorKind::kUnavailable, "the export queue is closed");
    *through = window_->through();
    SHEAF_RETURN_NOT_OK(WriteProgress());
    progress = progress_.get();
  }
  return progress->Sync();
}

ExportQueueState ExportQueue::state() const {
  MutexLock lock(&mutex_);
  ExportQueueState state{.requests = requests_, .rows = rows_, .bytes = bytes_, .memory_bytes = memory_bytes_};
  if (log_ != nullptr) state.disk_bytes = log_->disk_bytes();
  const auto oldest = std::find_if(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.place != Place::kDelivered; });
  if (oldest != slots_.end()) state.oldest_time_ns = oldest->request.time_ns;
  state.put_off_requests = static_cast<int64_t>(put_off_.size());
  for (const auto& [time_ns, number] : put_off_) {
    state.put_off_attempts = std::max(state.put_off_attempts, slots_[static_cast<size_t>(number - first_)].request.attempts);
  }
  return state;
}

ExportBatchReports ExportQueue::batch_reports() const {
  MutexLock lock(&mutex_);
  const int64_t now_ns = clock_->MonotonicNs();
  ExportBatchReports reports;
  for (size_t i = 0; i < kExportKinds; ++i) reports[i] = lanes_[i].batcher.Report(now_ns);
  return reports;
}

Status ExportQueue::Close() {
  {
    MutexLock lock(&mutex_);
    if (std::exchange(closed_, true)) return Status::OK();
  }
  if (log_ == nullptr) return Status::OK();
  Status status = log_->Close();
  MutexLock lock(&mutex_);
  const Status synced = progress_->Close();
  return status.ok() ? synced : status;
}

}  // namespace sheaf::client
