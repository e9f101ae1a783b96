#include "client/exporter.h"

#include <algorithm>
#include <optional>

#include "client/split_request.h"
#include "core/check.h"
#include "core/log.h"
#include "decode/encoder.h"
#include "wire/otlp_records.h"

namespace sheaf::client {
namespace {

using std::chrono::milliseconds;

wire::OtlpRequest KindOfSignal(decode::Signal signal) {
  switch (signal) {
    case decode::Signal::kTraces: return wire::OtlpRequest::kTraces;
    case decode::Signal::kLogs: return wire::OtlpRequest::kLogs;
    default: return wire::OtlpRequest::kMetrics;
  }
}

/// While attempts fail, this often something is said of them.
constexpr int64_t kRetryLogNs = 10'000'000'000;
constexpr size_t kReasonBytesMax = 2'000;

/// Batches are no larger than the target takes.
ExporterOptions Fitting(ExporterOptions options, const ExportTarget& target) {
  options.queue.batching.rows_max = std::min(options.queue.batching.rows_max, target.rows_max());
  options.queue.batching.flushers = options.senders;
  return options;
}

/// What a server says is shown, and a server may say a lot. Cut between characters of UTF-8.
void Shorten(std::string* text) {
  if (text->size() <= kReasonBytesMax) return;
  size_t end = kReasonBytesMax;
  while (end > 0 && (static_cast<unsigned char>((*text)[end]) & 0xC0) == 0x80) --end;
  text->resize(end);
  *text += "…";
}

std::string_view BytesOf(const QueuedRequest& request) {
  return {reinterpret_cast<const char*>(request.request->data()), static_cast<size_t>(request.request->size())};
}

/// Counts a sender among those that wait for the target to take anything.
class HeldSender {
 public:
  explicit HeldSender(std::atomic<int64_t>* count) : count_(count) {}
  ~HeldSender() { Set(false); }
  HeldSender(const HeldSender&) = delete;
  HeldSender& operator=(const HeldSender&) = delete;
  void Set(bool held) {
    if (held != std::exchange(held_, held)) *count_ += held ? 1 : -1;
  }

 private:
  std::atomic<int64_t>* const count_;
  bool held_ = false;
};

}  // namespace

Exporter::Exporter(ExporterOptions options, std::unique_ptr<ExportTarget> target)
    : options_(Fitting(std::move(options), *target)), target_(std::move(target)), random_(options_.jitter_seed) {}

Result<std::unique_ptr<Exporter>> Exporter::Open(ExporterOptions options, std::unique_ptr<ExportTarget> target) {
  std::unique_ptr<Exporter> exporter(new Exporter(std::move(options), std::move(target)));
  const ExporterOptions& given = exporter->options_;
  ExportQueueReport report;
  SHEAF_ASSIGN_OR_RETURN(exporter->queue_, ExportQueue::Open(given.queue, given.files, given.clock, &report));
  exporter->queue_->OnChange([raw = exporter.get()] { raw->Wake(); });
  if (report.progress_lost) {
    LogWarn("export.progress_lost", {{"target", given.name},
                                     {"queue", given.queue.directory},
                                     {"effect", "what is sent counts as perhaps sent twice"}});
  }
  LogInfo("export.opened", {{"target", given.name}, {"queued_requests", report.requests}, {"queued_rows", report.rows},
                            {"perhaps_sent_requests", report.perhaps_sent}});
  for (int i = 0; i < given.senders; ++i) {
    exporter->senders_.emplace_back([raw = exporter.get(), seed = given.jitter_seed + static_cast<uint64_t>(i)] { raw->Run(seed); });
  }
  return exporter;
}

Exporter::~Exporter() {
  if (queue_ == nullptr) return;
  const Status stopped = Stop(milliseconds(0));
  if (!stopped.ok()) LogError("export.stop_failed", {{"target", options_.name}, {"error", stopped.ToString()}});
}

Status Exporter::Enqueue(wire::OtlpRequest kind, std::string_view request, Done done) {
  {
    MutexLock lock(&mutex_);
    if (stopping_) return MakeError(ErrorKind::kUnavailable, "the exporter to {} is stopping", options_.name);
  }
  SHEAF_ASSIGN_OR_RETURN(const int64_t rows, wire::CountOtlpRecords(kind, request));
  return queue_->Enqueue(kind, rows, request, std::move(done));
}

Status Exporter::Enqueue(decode::Signal signal, const arrow::RecordBatch& rows, Done done) {
  std::string request;
  SHEAF_RETURN_NOT_OK(decode::EncodeRequest(signal, rows, &request, static_cast<size_t>(wal::kPayloadBytesMax)));
  return Enqueue(KindOfSignal(signal), request, std::move(done));
}

void Exporter::Wake() {
  MutexLock lock(&mutex_);
  ++changes_;
  wake_.NotifyAll();
}

bool Exporter::ended() const {
  MutexLock lock(&mutex_);
  return ended_;
}

// --- Sending ---

void Exporter::Run(uint64_t seed) {
  std::mt19937_64 random(seed);
  for (;;) {
    uint64_t seen = 0;
    bool flush = false;
    {
      MutexLock lock(&mutex_);
      if (ended_) return;
      seen = changes_;
      flush = flushing_ > 0;
    }
    int64_t due_ns = 0;
    const Result<std::optional<ExportBatch>> batch = queue_->Take(flush, &due_ns);
    if (!batch.ok()) {
      LogError("export.queue_closed", {{"target", options_.name}, {"error", batch.status().ToString()}});
      return;
    }
    if (*batch) {
      Handle(**batch, &random);
    } else {
      MutexLock lock(&mutex_);
      if (ended_) return;
      if (changes_ != seen || (flushing_ > 0) != flush) continue;
      const int64_t wait_ns = due_ns == INT64_MAX ? INT64_MAX : due_ns - options_.clock->MonotonicNs();
      if (wait_ns == INT64_MAX) {
        wake_.Wait(&mutex_);
      } else if (wait_ns > 0) {
        wake_.WaitFor(&mutex_, std::chrono::nanoseconds(wait_ns));
      }
    }
  }
}

Result<int> Exporter::SendDue(bool flush) {
  for (int batches = 0;; ++batches) {
    int64_t due_ns = 0;
    SHEAF_ASSIGN_OR_RETURN(const std::optional<ExportBatch> batch, queue_->Take(flush, &due_ns));
    if (!batch || ended()) return batches;
    Handle(*batch, &random_);
  }
}

void Exporter::Handle(const ExportBatch& batch, std::mt19937_64* random) {
  for (const auto& [request, why] : batch.unreadable) SetAside(request, why, random);
  std::optional<int64_t> latency_ns;
  if (!batch.requests.empty()) latency_ns = Deliver(batch, random);
  queue_->FlushEnded(batch, latency_ns);
}

/// A request that cannot be read from the queue's log. Where the log is damaged it is given up, as nobody will ever read it; a disk that
/// cannot be read may get better.
void Exporter::SetAside(const QueuedRequest& request, const Status& why, std::mt19937_64* random) {
  const bool damaged = KindOf(why) == ErrorKind::kCorruption || KindOf(why) == ErrorKind::kUnsupported;
  const milliseconds wait = Backoff(options_.retry, random, request.attempts).Next(std::nullopt);
  LogError("export.unreadable", {{"target", options_.name},
                                 {"signal", wire::OtlpSignalName(request.kind)},
                                 {"rows", request.rows},
                                 {"error", why.ToString()},
                                 {"effect", damaged ? "given up" : fmt::format("tried again in {} ms", wait.count())}});
  if (damaged) {
    counters_.unreadable_rows += request.rows;
    return queue_->NoteDelivered({&request, 1});
  }
  QueuedRequest again = request;
  ++again.attempts;
  const int64_t not_before_ns = options_.clock->MonotonicNs() + wait.count() * 1'000'000;
  SHEAF_CHECK(queue_->PutOff({&again, 1}, not_before_ns, 1, /*always=*/true));
}

std::optional<int64_t> Exporter::Deliver(const ExportBatch& batch, std::mt19937_64* random) {
  std::string joined;
  if (batch.requests.size() > 1) {
    joined.reserve(static_cast<size_t>(batch.bytes));
    for (const QueuedRequest& request : batch.requests) joined.append(BytesOf(request));
  }
  const std::string_view bytes = batch.requests.size() > 1 ? std::string_view(joined) : BytesOf(batch.requests[0]);
  Parcel parcel{.request = {.kind = batch.requests[0].kind, .rows = batch.rows, .bytes = bytes}, .requests = batch.requests};
  std::string reason;
  Outcome outcome = SendUntilDecided(&parcel, &reason, random);
  const bool failed = outcome == Outcome::kRefused || outcome == Outcome::kTooLarge;
  if (failed && parcel.requests.size() > 1) {
    for (const QueuedRequest& request : parcel.requests) {
      Deliver({.requests = {request}, .rows = request.rows, .bytes = request.bytes}, random);
    }
    return std::nullopt;
  }
  const bool whole = outcome == Outcome::kDone;
  if (outcome == Outcome::kTooLarge) outcome = SendInPieces(parcel, &reason, random);
  if (outcome == Outcome::kPutOff) return std::nullopt;
  if (outcome == Outcome::kLeft) {
    queue_->GiveBack(parcel.requests);
    return std::nullopt;
  }
  if (outcome != Outcome::kDone) Refuse(parcel.requests[0], reason);
  queue_->NoteDelivered(parcel.requests);
  return whole ? std::optional(parcel.latency_ns) : std::nullopt;
}

ExportAnswer Exporter::SendOnce(Parcel* parcel) {
  queue_->NoteBegun(parcel->requests);
  const int64_t began_ns = options_.clock->MonotonicNs();
  ExportAnswer answer = target_->Send(parcel->request);
  parcel->latency_ns = options_.clock->MonotonicNs() - began_ns;
  counters_.sent_bytes += answer.sent_bytes;
  Shorten(&answer.message);
  return answer;
}

Exporter::Outcome Exporter::SendUntilDecided(Parcel* parcel, std::string* reason, std::mt19937_64* random) {
  const int before = parcel->requests[0].attempts;  // Before they were put off, all of them together.
  const int64_t others_sent = before > 0 ? parcel->requests[0].others_sent : counters_.sent_requests.load();
  Backoff backoff(options_.retry, random, before);
  HeldSender held(&counters_.held);
  bool lost = true;  // The answer before this attempt, if there was an attempt; what certainly was not taken is no news.
  for (int attempts = before;; ++attempts) {
    if (ended()) return Outcome::kLeft;
    if (attempts > 0) ++counters_.retries;
    if (lost) LogSentAgain(*parcel);
    const ExportAnswer answer = SendOnce(parcel);
    held.Set(answer.verdict == ExportVerdict::kHeld);
    if (answer.verdict == ExportVerdict::kTaken) {
      CountTaken(*parcel, answer);
      return Outcome::kDone;
    }
    lost = answer.verdict == ExportVerdict::kLost || answer.verdict == ExportVerdict::kCancelled;
    if (lost) {
      CountAgain(*parcel);
      for (QueuedRequest& each : parcel->requests) each.perhaps_sent = true;
    } else if (!parcel->part) {
      queue_->NoteNotTaken(parcel->requests);
    }
    *reason = answer.message;
    {
      MutexLock lock(&mutex_);
      last_error_ = answer.message;
    }
    if (answer.verdict == ExportVerdict::kRefused) return Outcome::kRefused;
    if (answer.verdict == ExportVerdict::kTooLarge) return Outcome::kTooLarge;
    if (answer.verdict == ExportVerdict::kCancelled) return Outcome::kLeft;
    const milliseconds wait = backoff.Next(answer.retry_after);
    if (answer.verdict == ExportVerdict::kHeld) {
      LogError("export.held", {{"target", options_.name}, {"error", answer.message}, {"wait_ms", wait.count()},
                               {"effect", "the queue waits until the target takes requests again"}});
    } else {
      LogRetry(*parcel, answer, wait);
      const bool long_enough = options_.attempts_in_hand > 0 && attempts + 1 >= options_.attempts_in_hand;
      const bool others_go = counters_.sent_requests != others_sent;  // Since its last attempt, or since its first in hand.
      if (long_enough && PutOff(parcel, attempts + 1, others_go, wait, answer.message)) return Outcome::kPutOff;
    }
    if (!Pause(wait)) return Outcome::kLeft;
  }
}

/// Lets others go before requests that went out in vain again and again. Where the target took others meanwhile, the reason may be one
/// of the requests: they go out in halves then, until it is alone. Pieces of a request stay where they are: some are delivered.
bool Exporter::PutOff(Parcel* parcel, int attempts, bool others_go, milliseconds wait, const std::string& reason) {
  if (parcel->part) return false;
  const size_t together = parcel->requests.size();
  for (QueuedRequest& each : parcel->requests) {
    each.attempts = attempts;
    each.others_sent = counters_.sent_requests;
  }
  const int64_t not_before_ns = options_.clock->MonotonicNs() + wait.count() * 1'000'000;
  if (!queue_->PutOff(parcel->requests, not_before_ns, others_go ? (together + 1) / 2 : together)) return false;
  if (attempts > options_.attempts_in_hand) return true;  // It was said when it was put off first.
  LogWarn("export.put_off", {{"target", options_.name},
                             {"signal", wire::OtlpSignalName(parcel->request.kind)},
                             {"requests", together},
                             {"rows", parcel->request.rows},
                             {"attempts", attempts},
                             {"error", reason},
                             {"effect", "others are sent before it"}});
  return true;
}

/// Every now and then, with how many there were: a target may be away for days.
void Exporter::LogRetry(const Parcel& parcel, const ExportAnswer& answer, milliseconds wait) {
  int64_t unlogged = 0;
  {
    MutexLock lock(&mutex_);
    const int64_t now_ns = options_.clock->MonotonicNs();
    if (now_ns < next_retry_log_ns_) {
      ++unlogged_retries_;
      return;
    }
    next_retry_log_ns_ = now_ns + kRetryLogNs;
    unlogged = std::exchange(unlogged_retries_, 0);
  }
  LogWarn("export.retry", {{"target", options_.name},
                           {"rows", parcel.request.rows},
                           {"error", answer.message},
                           {"wait_ms", wait.count()},
                           {"others_since_last", unlogged}});
}

/// Before it goes out, so that the log of a process that is killed tells of everything that can be there twice.
void Exporter::LogSentAgain(const Parcel& parcel) const {
  int64_t rows = 0;
  for (const QueuedRequest& each : parcel.requests) rows += each.perhaps_sent ? each.rows : 0;
  if (rows == 0) return;
  if (parcel.part) rows = parcel.request.rows;
  LogInfo("export.sent_again", {{"target", options_.name}, {"rows", rows}, {"reason", "its answer was lost"}});
}

Exporter::Outcome Exporter::SendInPieces(const Parcel& whole, std::string* reason, std::mt19937_64* random) {
  if (whole.request.rows <= 1 || static_cast<int64_t>(whole.request.bytes.size()) < options_.split_bytes_min) return Outcome::kTooLarge;
  const Result<SplitParts> parts = SplitRequest(whole.request.kind, whole.request.bytes);
  if (!parts.ok()) {
    *reason = fmt::format("{}; in pieces: {}", *reason, parts.status().message());
    return Outcome::kRefused;
  }
  if (parts->rejected > 0) {
    counters_.rejected_rows += parts->rejected;
    LogError("export.rejected", {{"target", options_.name}, {"rows", parts->rejected}, {"reason", parts->reason}});
  }
  // A server may say "too large" and mean that it has too much to do.
  Backoff backoff(options_.retry, random);
  if (!Pause(backoff.Next(std::nullopt))) return Outcome::kLeft;
  for (const RequestPiece& piece : parts->pieces) {
    Parcel parcel{.request = {.kind = whole.request.kind, .rows = piece.rows, .bytes = piece.bytes},
                  .requests = whole.requests,
                  .part = true};
    Outcome outcome = SendUntilDecided(&parcel, reason, random);
    if (outcome == Outcome::kTooLarge) outcome = SendInPieces(parcel, reason, random);
    if (outcome == Outcome::kLeft) return outcome;
    if (outcome == Outcome::kDone) continue;
    counters_.refused_rows += piece.rows;
    LogError("export.refused", {{"target", options_.name}, {"rows", piece.rows}, {"reason", *reason}});
  }
  return Outcome::kDone;
}

/// Counts the rows of an attempt that may have come a second time: of requests that were perhaps sent before it.
void Exporter::CountAgain(const Parcel& parcel) {
  for (const QueuedRequest& each : parcel.requests) {
    if (each.perhaps_sent) counters_.perhaps_twice_rows += parcel.part ? parcel.request.rows : each.rows;
  }
}

void Exporter::CountTaken(const Parcel& parcel, const ExportAnswer& answer) {
  ++counters_.sent_requests;
  const int64_t rejected = std::min(answer.rejected, parcel.request.rows);
  counters_.sent_rows += parcel.request.rows - rejected;
  counters_.rejected_rows += rejected;
  counters_.inexact_rows += answer.inexact;
  CountAgain(parcel);
  if (rejected > 0) {
    LogWarn("export.rejected", {{"target", options_.name}, {"rows", rejected}, {"reason", answer.message}});
  }
  MutexLock lock(&mutex_);
  last_error_.clear();
}

void Exporter::Refuse(const QueuedRequest& request, const std::string& reason) {
  counters_.refused_rows += request.rows;
  LogError("export.refused", {{"target", options_.name},
                              {"signal", wire::OtlpSignalName(request.kind)},
                              {"rows", request.rows},
                              {"bytes", request.bytes},
                              {"reason", reason}});
}

bool Exporter::Pause(milliseconds wait) {
  if (options_.pause) {
    options_.pause(wait);
    return !ended();
  }
  const int64_t end_ns = options_.clock->MonotonicNs() + wait.count() * 1'000'000;
  MutexLock lock(&mutex_);
  while (!ended_) {
    const int64_t left_ns = end_ns - options_.clock->MonotonicNs();
    if (left_ns <= 0) return true;
    wake_.WaitFor(&mutex_, std::chrono::nanoseconds(left_ns));
  }
  return false;
}

// --- Ends ---

bool Exporter::Flush(milliseconds timeout) {
  const int64_t end_ns = options_.clock->MonotonicNs() + timeout.count() * 1'000'000;
  MutexLock lock(&mutex_);
  ++flushing_;
  wake_.NotifyAll();
  bool delivered = false;
  for (;;) {
    const uint64_t seen = changes_;
    mutex_.Unlock();
    delivered = queue_->state().requests == 0;
    mutex_.Lock();
    const int64_t left_ns = end_ns - options_.clock->MonotonicNs();
    if (delivered || left_ns <= 0 || ended_) break;
    if (changes_ == seen) wake_.WaitFor(&mutex_, std::chrono::nanoseconds(left_ns));
  }
  --flushing_;
  return delivered;
}

Status Exporter::Stop(milliseconds drain) {
  {
    MutexLock lock(&mutex_);
    if (std::exchange(stopped_, true)) {
      while (!closed_) wake_.Wait(&mutex_);
      return stop_status_;
    }
    stopping_ = true;
  }
  if (options_.senders > 0) Flush(drain);
  {
    MutexLock lock(&mutex_);
    ended_ = true;
    wake_.NotifyAll();
  }
  target_->Cancel();
  for (std::thread& sender : senders_) sender.join();
  Status status = queue_->Close();  // Waits for what is on its way into the queue.
  const ExportQueueState left = queue_->state();
  if (options_.queue.directory.empty() && left.requests > 0) {
    counters_.dropped_rows += left.rows;
    status = MakeError(ErrorKind::kUnavailable, "{} rows could not be sent to {} in time and are lost; a queue with a folder keeps them",
                       left.rows, options_.name);
  }
  LogInfo("export.stopped", {{"target", options_.name}, {"left_requests", left.requests}, {"left_rows", left.rows}});
  MutexLock lock(&mutex_);
  stop_status_ = status;
  closed_ = true;
  wake_.NotifyAll();
  return status;
}

ExporterStats Exporter::stats() const {
  ExporterStats stats;
  stats.queue = queue_->state();
  if (stats.queue.oldest_time_ns > 0) {
    stats.oldest_age_ms = std::max<int64_t>(0, (options_.clock->NowNs() - stats.queue.oldest_time_ns) / 1'000'000);
  }
  stats.sent_requests = counters_.sent_requests;
  stats.sent_rows = counters_.sent_rows;
  stats.sent_bytes = counters_.sent_bytes;
  stats.retries = counters_.retries;
  stats.rejected_rows = counters_.rejected_rows;
  stats.refused_rows = counters_.refused_rows;
  stats.unreadable_rows = counters_.unreadable_rows;
  stats.batches = queue_->batch_reports();
  stats.dropped_rows = counters_.dropped_rows;
  stats.held = counters_.held;
  stats.inexact_rows = counters_.inexact_rows;
  stats.perhaps_twice_rows = counters_.perhaps_twice_rows;
  MutexLock lock(&mutex_);
  stats.last_error = last_error_;
  return stats;
}

}  // namespace sheaf::client
