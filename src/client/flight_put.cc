#include "client/flight_put.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <random>
#include <utility>

#include <arrow/type.h>
#include <arrow/util/byte_size.h>

#include "client/grpc_reader.h"
#include "core/log.h"
#include "wire/flight_messages.h"

namespace sheaf::client {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr size_t kIdBytesMax = 64;
constexpr int kStreamsMax = 64;

std::string RandomPrefix() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}{:08x}-", random(), random(), random());
}

/// The server's {"rows": 2, "lsn": 17, "batch": 1}; the LSN is null for a batch without rows.
struct PutAnswer {
  uint64_t lsn = 0;
  int64_t batch = 0;  // Its number in the stream, from 1; 0: a server that does not say.
};

/// The number after a key; `otherwise` where it is not there or null.
template <typename T>
T NumberAfter(std::string_view text, std::string_view key, T otherwise) {
  const size_t begin = text.find(key);
  if (begin == std::string_view::npos) return otherwise;
  const char* digits = text.data() + begin + key.size();
  const char* end = text.data() + text.size();
  while (digits < end && *digits == ' ') ++digits;
  T number = otherwise;
  std::from_chars(digits, end, number);
  return number;
}

/// Error: Invalid.
Result<PutAnswer> ReadPutAnswer(std::string_view message) {
  SHEAF_ASSIGN_OR_RETURN(const std::string text, wire::ReadFirstBytes(message));
  if (text.find("\"lsn\":") == std::string::npos) {
    return MakeError(ErrorKind::kInvalid, "the server's answer to a batch cannot be read: {}", text.substr(0, 200));
  }
  return PutAnswer{.lsn = NumberAfter<uint64_t>(text, "\"lsn\":", 0), .batch = NumberAfter<int64_t>(text, "\"batch\":", 0)};
}

/// Whether an attempt that ended so tells nothing of the batches, which may go well the next time.
bool SaysNothing(const GrpcEnd& end) {
  if (!end.from_server) return true;
  return end.code == GrpcCode::kUnavailable || (end.code == GrpcCode::kResourceExhausted && end.retry_after_ms);
}

}  // namespace

/// One stream after the other, on a thread of its own. An answer says by its number which batch it is for: they do not come in order
/// where one was there before, or failed. With a server that gives no numbers, one batch is under way at a time. After a stream broke its
/// batches go out alone too, so that an error is known to be that batch's.
class FlightPut::Lane {
 public:
  explicit Lane(FlightPut* owner) : owner_(owner), random_(owner->client_->NextSeed()) { StartAnew(); }

  void Run() {
    while (!owner_->aborted()) {
      if (!again_.empty()) {
        SendAgain();
        continue;
      }
      std::unique_ptr<Item> item;
      if (unanswered_.size() < (numbered_ ? static_cast<size_t>(owner_->options_.batches_max) : 1)) {
        item = owner_->Next([this] { return reader_ != nullptr && reader_->ready(); }, deadline());
      }
      if (item != nullptr) {
        Send(std::move(item));
      } else if (!unanswered_.empty()) {
        ReadAnswer();
      } else if (owner_->finished()) {
        break;
      } else if (reader_ != nullptr && reader_->ready()) {
        reader_.reset();  // The server ended a stream that had nothing to do.
      }
    }
    GiveUp();
    CloseStream();
  }

 private:
  using Items = std::deque<std::unique_ptr<Item>>;
  struct Sent {
    int64_t number = 0;  // In the stream.
    std::unique_ptr<Item> item;
  };

  void StartAnew() { backoff_.emplace(owner_->client_->options().retry, &random_); }
  Clock::time_point deadline() const {
    return unanswered_.empty() ? Clock::now() + milliseconds(3'600'000) : sent_ + owner_->client_->options().timeout;
  }

  /// One that was sent before, alone.
  void SendAgain() {
    std::unique_ptr<Item> item = std::move(again_.front());
    again_.pop_front();
    if (wait_.count() > 0 && !owner_->Pause(std::exchange(wait_, milliseconds(0)))) return again_.push_front(std::move(item));
    ++owner_->client_->counters()->batches_sent_again;
    Send(std::move(item));
    while (!unanswered_.empty() && !owner_->aborted()) ReadAnswer();
  }

  void Send(std::unique_ptr<Item> item) {
    if (reader_ != nullptr && !item->batch->schema()->Equals(*schema_, false)) {  // Another one needs a stream of its own.
      while (!unanswered_.empty() && !owner_->aborted()) ReadAnswer();
      CloseStream();
    }
    Status sent = reader_ == nullptr ? Open(item->batch->schema()) : Status::OK();
    if (sent.ok()) sent = Write(*item);
    if (!sent.ok()) {  // It cannot be said in Arrow's format.
      owner_->Answer(std::move(item), sent);
      if (unanswered_.empty()) CloseStream();
      return;
    }
    sent_ = Clock::now();
    unanswered_.push_back({++number_, std::move(item)});
  }

  Status Open(const std::shared_ptr<arrow::Schema>& schema) {
    FlightClient* const client = owner_->client_;
    schema_ = schema;
    number_ = 0;
    writer_ = std::make_unique<FlightBatchWriter>(schema, client->options().codec);
    SHEAF_ASSIGN_OR_RETURN(const std::string head, writer_->Begin(wire::EncodeFlightPath(owner_->path_)));
    ++client->counters()->calls;
    const auto stops = [owner = owner_, &cancelled = client->options().cancelled] {
      return owner->aborted() || (cancelled && cancelled());
    };
    reader_ = std::make_unique<GrpcReader>(client->connection(), client->RequestOf("DoPut", false), stops);
    reader_->OnReady([signal = owner_->signal_] {
      MutexLock lock(&signal->mutex);
      signal->changed.NotifyAll();
    });
    return reader_->Write(head);
  }

  Status Write(const Item& item) {
    SHEAF_ASSIGN_OR_RETURN(const auto messages, writer_->Batch(*item.batch, item.id));
    for (const std::string& message : messages) {
      SHEAF_RETURN_NOT_OK(reader_->Write(message));
      owner_->client_->counters()->sent_bytes += static_cast<int64_t>(message.size());
    }
    return Status::OK();
  }

  /// Waits for the next answer, or for the end of the stream. Requires: some batch has none.
  void ReadAnswer() {
    const auto left = std::max(deadline() - Clock::now(), Clock::duration(0));
    const auto next = reader_->Next(left);
    if (!next.ok()) {
      GrpcEnd end{.code = GrpcCode::kUnavailable, .message = "no answer in time", .perhaps_processed = true};
      if (KindOf(next.status()) == ErrorKind::kCancelled) end.code = GrpcCode::kCancelled;
      return Ended(end);
    }
    if (!*next) return Ended(reader_->end());
    const Result<PutAnswer> answer = ReadPutAnswer(**next);
    if (!answer.ok()) return Ended({.code = GrpcCode::kUnavailable, .message = answer.status().message(), .perhaps_processed = true});
    numbered_ = answer->batch > 0;
    const bool sole = unanswered_.size() == 1;
    const auto found = std::find_if(unanswered_.begin(), unanswered_.end(),
                                    [&](const Sent& sent) { return numbered_ ? sent.number == answer->batch : sole; });
    if (found == unanswered_.end()) {
      return Ended({.code = GrpcCode::kUnavailable, .message = "the server's answer is for no batch", .perhaps_processed = true});
    }
    std::unique_ptr<Item> item = std::move(found->item);
    unanswered_.erase(found);
    sent_ = Clock::now();  // The next one has as long.
    StartAnew();
    ++owner_->client_->counters()->sent_batches;
    owner_->client_->counters()->sent_rows += item->batch->num_rows();
    owner_->Answer(std::move(item), answer->lsn);
  }

  /// The stream is over, and its batches have no answer.
  void Ended(GrpcEnd end) {
    reader_.reset();
    if (end.ok()) {
      end = {.code = GrpcCode::kUnavailable, .message = "the server ended the stream without an answer", .perhaps_processed = true};
    }
    Items items;
    for (Sent& sent : std::exchange(unanswered_, {})) items.push_back(std::move(sent.item));
    if (end.code == GrpcCode::kCancelled && !end.from_server) {
      for (auto& item : items) owner_->Answer(std::move(item), MakeError(ErrorKind::kCancelled, "cancelled; the batch may be there"));
      return;
    }
    const bool silent = SaysNothing(end);
    const bool sole = items.size() == 1;
    if (silent) {
      wait_ = backoff_->Next(end.retry_after_ms ? std::optional(milliseconds(*end.retry_after_ms)) : std::nullopt);
      ++owner_->client_->counters()->retries;
    }
    for (auto& item : items) {
      // An error of the server is of one batch; which of several shows when each goes alone.
      const bool over = silent ? ++item->attempts >= owner_->options_.attempts_max : sole;
      if (!over) {
        again_.push_back(std::move(item));
        continue;
      }
      ++owner_->client_->counters()->failed_calls;
      owner_->Answer(std::move(item), ErrorOfGrpc(end, "sending rows to " + owner_->client_->authority(), true));
    }
  }

  void CloseStream() {
    if (reader_ == nullptr) return;
    reader_->Finish();
    const auto rest = reader_->Next(owner_->client_->options().timeout);
    if (!rest.ok()) LogDebug("flight.stream_not_closed", {{"error", rest.status().message()}});
    reader_.reset();
  }

  void GiveUp() {
    if (!unanswered_.empty()) reader_.reset();
    Items items = std::exchange(again_, {});
    for (Sent& sent : std::exchange(unanswered_, {})) items.push_back(std::move(sent.item));
    for (auto& item : items) {
      owner_->Answer(std::move(item), MakeError(ErrorKind::kCancelled, "given up before the answer came; the batch may be there"));
    }
  }

  FlightPut* const owner_;
  std::mt19937_64 random_;
  std::optional<Backoff> backoff_;  // Begins anew with each answer.
  milliseconds wait_{0};  // Before the next attempt.
  std::shared_ptr<arrow::Schema> schema_;
  std::unique_ptr<FlightBatchWriter> writer_;
  std::unique_ptr<GrpcReader> reader_;  // Null: no stream is open.
  std::deque<Sent> unanswered_;
  Items again_;
  int64_t number_ = 0;     // Of the last batch of the stream.
  bool numbered_ = false;  // The server gives numbers.
  Clock::time_point sent_;  // The last batch, or the last answer came.
};

FlightPut::FlightPut(FlightClient* client, std::vector<std::string> path, const FlightPutOptions& options)
    : client_(client), path_(std::move(path)), options_(options), id_prefix_(RandomPrefix()) {}

Result<std::unique_ptr<FlightPut>> FlightPut::Open(FlightClient* client, std::vector<std::string> path, const FlightPutOptions& options) {
  if (path.empty() || path.size() > wire::kFlightPathNamesMax) return MakeError(ErrorKind::kInvalid, "a path of {} names", path.size());
  if (options.streams < 1 || options.streams > kStreamsMax || options.batches_max < 1 || options.attempts_max < 1) {
    return MakeError(ErrorKind::kInvalid, "{} streams of {} batches with {} attempts: at least 1 each, at most {} streams", options.streams,
                     options.batches_max, options.attempts_max, kStreamsMax);
  }
  std::unique_ptr<FlightPut> put(new FlightPut(client, std::move(path), options));
  for (int i = 0; i < options.streams; ++i) {
    put->lanes_.emplace_back([raw = put.get()] { Lane(raw).Run(); });
  }
  return put;
}

FlightPut::~FlightPut() {
  {
    MutexLock lock(&mutex_);
    finished_ = aborted_ = true;
    changed_.NotifyAll();
  }
  for (std::thread& lane : lanes_) lane.join();
  for (;;) {
    std::unique_ptr<Item> item;
    {
      MutexLock lock(&mutex_);
      if (waiting_.empty()) return;
      item = std::move(waiting_.front());
      waiting_.pop_front();
    }
    Answer(std::move(item), MakeError(ErrorKind::kCancelled, "given up before it was sent"));
  }
}

Status FlightPut::Put(std::shared_ptr<arrow::RecordBatch> batch, std::string id, Done done) {
  if (id.size() > kIdBytesMax) return MakeError(ErrorKind::kInvalid, "a batch's id has {} bytes; at most {}", id.size(), kIdBytesMax);
  auto item = std::make_unique<Item>();
  item->bytes = arrow::util::ReferencedBufferSize(*batch).ValueOr(arrow::util::TotalBufferSize(*batch));
  item->batch = std::move(batch);
  item->done = std::move(done);
  MutexLock lock(&mutex_);
  while (!finished_ && bytes_ > 0 && bytes_ + item->bytes > options_.waiting_bytes_max) changed_.Wait(&mutex_);
  if (finished_) return MakeError(ErrorKind::kUnavailable, "the put is finished");
  item->id = id.empty() ? fmt::format("{}{}", id_prefix_, ++made_ids_) : std::move(id);
  bytes_ += item->bytes;
  ++items_;
  waiting_.push_back(std::move(item));
  changed_.NotifyAll();
  return Status::OK();
}

Status FlightPut::Finish() {
  MutexLock lock(&mutex_);
  finished_ = true;
  changed_.NotifyAll();
  while (items_ > 0) changed_.Wait(&mutex_);
  return first_error_;
}

std::unique_ptr<FlightPut::Item> FlightPut::Next(const std::function<bool()>& or_until, Clock::time_point deadline) {
  MutexLock lock(&mutex_);
  while (waiting_.empty() && !finished_ && !or_until()) {
    const auto left = deadline - Clock::now();
    if (left.count() <= 0) return nullptr;
    changed_.WaitFor(&mutex_, left);
  }
  if (waiting_.empty() || aborted_) return nullptr;
  std::unique_ptr<Item> item = std::move(waiting_.front());
  waiting_.pop_front();
  return item;
}

bool FlightPut::Pause(milliseconds wait) {
  if (client_->options().pause) {
    client_->options().pause(wait);
    return !aborted();
  }
  const auto end = Clock::now() + wait;
  MutexLock lock(&mutex_);
  while (!aborted_) {
    const auto left = end - Clock::now();
    if (left.count() <= 0) return true;
    changed_.WaitFor(&mutex_, left);
  }
  return false;
}

bool FlightPut::finished() const {
  MutexLock lock(&mutex_);
  return finished_ && waiting_.empty();
}

bool FlightPut::aborted() const {
  MutexLock lock(&mutex_);
  return aborted_;
}

void FlightPut::Answer(std::unique_ptr<Item> item, Result<uint64_t> lsn) {
  const Status status = lsn.status();
  if (item->done) item->done(std::move(lsn));
  MutexLock lock(&mutex_);
  if (!status.ok() && first_error_.ok()) first_error_ = status;
  bytes_ -= item->bytes;
  --items_;
  changed_.NotifyAll();
}

}  // namespace sheaf::client
