/// The C++ sides of the headline table's times: headline_codec WORKLOAD SPANS THREADS FOLDER
///
/// Spans go in requests of 1,000. At most 200 requests of them, with their rows, objects, columns and bytes, are in memory; more
/// spans than that go over these several times. Each line of the input names a contender (below), which then does its work for
/// SPANS spans on THREADS threads; the answer is a line {"ns": a span, by the wall, "cpu_ns": by all threads, "digest": of what
/// was read}. Who asks takes turns among these and Go's pdata. FOLDER/otap-T.bin holds the OTel-Arrow stream of thread T's
/// requests (T, T + THREADS, …), as `otap-go encode` writes it. The line "exit" ends.
///
/// What each does with its memory: protobuf's objects live on an arena whose first block is used again, its bytes go into a
/// buffer that is used again, and so do those of our streams (a stream a thread, as one Flight call has it: the schema is sent
/// once, dictionaries where they changed). A log entry is one new buffer each time, as the log needs it; decoders recycle
/// columns.

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <arrow/io/interfaces.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/reader.h>
#include <fmt/format.h>
#include <google/protobuf/arena.h>

#include "../must.h"
#include "core/check.h"
#include "decode/decoder.h"
#include "decode/otap_decoder.h"
#include "otlp_objects.h"
#include "requests_file.h"
#include "span_columns.h"
#include "store/log_payload.h"
#include "wire/arrow_batch_message.h"
#include "wire/arrow_ipc_writer.h"

namespace sheaf::bench {
namespace {

using google::protobuf::Arena;
using Batch = std::shared_ptr<arrow::RecordBatch>;
using BufferPtr = std::shared_ptr<arrow::Buffer>;

constexpr int64_t kRequestSpans = 1'000;
constexpr size_t kHeldRequests = 200;
constexpr size_t kArenaBlockBytes = size_t{16} << 20;  // More than the objects of a request.

/// An arena whose memory stays: what protobuf is fastest with.
class WarmArena {
 public:
  WarmArena() : block_(new char[kArenaBlockBytes]), arena_(Options()) {}
  /// An empty request; the one before is gone.
  OtlpRequest* Fresh() {
    arena_.Reset();
    return Arena::CreateMessage<OtlpRequest>(&arena_);
  }

 private:
  google::protobuf::ArenaOptions Options() const {
    google::protobuf::ArenaOptions options;
    options.initial_block = block_.get();
    options.initial_block_size = kArenaBlockBytes;
    return options;
  }
  std::unique_ptr<char[]> block_;
  Arena arena_;
};

/// Where streams go: memory that is used again, like a socket's buffer. What was written last is there to be read.
class WarmSink {
 public:
  /// Memory for `bytes` more.
  char* Room(int64_t bytes) {
    const auto begin = static_cast<size_t>(size_);
    size_ += bytes;
    if (size_ > std::ssize(bytes_)) bytes_.resize(static_cast<size_t>(size_) * 2);
    return bytes_.data() + begin;
  }
  void Drop(int64_t bytes) { size_ -= bytes; }
  void Rewind() { size_ = 0; }
  std::string_view written() const { return {bytes_.data(), static_cast<size_t>(size_)}; }

 private:
  std::vector<char> bytes_ = std::vector<char>(size_t{8} << 20);
  int64_t size_ = 0;
};

/// What a thread has of its own.
struct Worker {
  WarmArena arena;
  WarmSink sink;
  wire::IpcMessage batch_message, dictionary_message;
  std::vector<const arrow::ArrayData*> dictionaries;
  std::vector<std::string> sent;  // Of each dictionary, its last message.
  std::string stream;  // Of this thread's requests.
  std::shared_ptr<arrow::ipc::RecordBatchStreamReader> reader;
  std::vector<char> bytes = std::vector<char>(size_t{8} << 20);
  decode::Decoder decoder;
  decode::OtapDecoder otap_decoder;
  std::unique_ptr<decode::OtapStream> otap_stream;
  wire::BatchArrowRecords otap_batch;
  SpanColumns columns;
  size_t number = 0;
  uint64_t digest = 0;
};

/// One request in all its forms.
struct Held {
  RequestRows rows;
  std::string otlp;
  std::unique_ptr<Arena> arena;
  const OtlpRequest* objects = nullptr;
  Batch columns;
  BufferPtr log_entry;
};

void Serialize(const OtlpRequest& request, Worker* worker) {
  const size_t size = request.ByteSizeLong();
  if (worker->bytes.size() < size) worker->bytes.resize(size);
  request.SerializeWithCachedSizesToArray(reinterpret_cast<uint8_t*>(worker->bytes.data()));
}

const OtlpRequest& Parse(const std::string& bytes, OtlpRequest* request) {
  if (!request->ParseFromString(bytes)) Must(MakeError(ErrorKind::kInvalid, "libprotobuf refuses a request"));
  return *request;
}

Batch Decode(const std::string& otlp, decode::Decoder* decoder) {
  auto result = Must(decoder->Traces(std::as_bytes(std::span(otlp))));
  SHEAF_CHECK(result.batches.size() == 1 && result.rejected == 0);
  return result.batches[0].batch;
}

/// Writes a batch to the thread's stream, which begins anew where `first`; of dictionaries those that are not as they were sent.
void WriteToStream(const arrow::RecordBatch& batch, bool first, Worker* worker) {
  WarmSink& sink = worker->sink;
  sink.Rewind();
  if (first) {
    std::string schema;
    Must(wire::AppendIpcSchema(*batch.schema(), &schema));
    std::memcpy(sink.Room(std::ssize(schema)), schema.data(), schema.size());
  }
  if (first) worker->sent.clear();
  worker->dictionaries.clear();
  SHEAF_CHECK(wire::MakeBatchMessage(batch, &worker->batch_message, &worker->dictionaries));
  worker->sent.resize(worker->dictionaries.size());
  for (size_t i = 0; i < worker->dictionaries.size(); ++i) {
    wire::IpcMessage& message = worker->dictionary_message;
    SHEAF_CHECK(wire::MakeDictionaryMessage(static_cast<int64_t>(i), *worker->dictionaries[i], &message));
    const int64_t bytes = wire::MessageBytes(message);
    char* const begin = sink.Room(bytes);
    const std::string_view written(begin, static_cast<size_t>(wire::WriteMessage(message, begin) - begin));
    if (written == worker->sent[i]) {
      sink.Drop(bytes);
    } else {
      worker->sent[i] = written;
    }
  }
  wire::WriteMessage(worker->batch_message, sink.Room(wire::MessageBytes(worker->batch_message)));
}

/// Reads the next batch of the thread's stream, from its beginning where `first`. The batch points into the stream.
Batch ReadFromStream(bool first, Worker* worker) {
  if (first) {
    auto options = arrow::ipc::IpcReadOptions::Defaults();
    options.use_threads = false;
    const auto bytes = arrow::Buffer::Wrap(worker->stream.data(), worker->stream.size());
    worker->reader = Must(Result<std::shared_ptr<arrow::ipc::RecordBatchStreamReader>>(
        arrow::ipc::RecordBatchStreamReader::Open(std::make_shared<arrow::io::BufferReader>(bytes), options)));
  }
  Batch batch;
  Must(worker->reader->ReadNext(&batch));
  return batch;
}

class Contest {
 public:
  Contest(std::string_view workload, int64_t spans, size_t threads, std::string folder)
      : requests_(static_cast<size_t>(spans / kRequestSpans)), folder_(std::move(folder)), workers_(threads) {
    codec_ = Must(store::BatchCodec::Make(decode::SignalSchema(decode::Signal::kTraces)));
    for (size_t t = 0; t < threads; ++t) workers_[t].number = t;
    SpanSource source(workload);
    held_.resize(std::min(requests_, kHeldRequests));
    for (Held& held : held_) Fill(source.Next(kRequestSpans), &held);
    for (Worker& worker : workers_) {
      for (size_t i = worker.number; i < held_.size(); i += threads) {
        WriteToStream(*held_[i].columns, i == worker.number, &worker);
        worker.stream += worker.sink.written();
      }
    }
    Enlist();
  }

  /// Runs a contender over all spans; returns the line of its answer.
  std::string Run(const std::string& name) {
    const auto found = contenders_.find(name);
    if (found == contenders_.end()) return fmt::format(R"({{"error": "no contender '{}'"}})", name);
    if (name == "otap_to_table" && otap_.empty()) ReadStreams();
    for (Worker& worker : workers_) worker.digest = 0;
    rusage before{}, after{};
    ::getrusage(RUSAGE_SELF, &before);
    const auto begin = std::chrono::steady_clock::now();
    std::vector<std::thread> threads;
    for (size_t t = 1; t < workers_.size(); ++t) threads.emplace_back([&, t] { Work(found->second, &workers_[t]); });
    Work(found->second, &workers_[0]);
    for (std::thread& thread : threads) thread.join();
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
    ::getrusage(RUSAGE_SELF, &after);
    uint64_t digest = 0;
    for (const Worker& worker : workers_) digest += worker.digest;
    const double spans = static_cast<double>(requests_) * kRequestSpans;
    return fmt::format(R"({{"ns": {:.2f}, "cpu_ns": {:.2f}, "digest": "{:016x}"}})", took.count() / spans,
                       (CpuNs(after) - CpuNs(before)) / spans, digest);
  }

 private:
  using Contender = std::function<void(const Held&, Worker*, size_t request)>;

  static double CpuNs(const rusage& usage) {
    const auto ns = [](const timeval& time) {
      return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_usec) * 1e3;
    };
    return ns(usage.ru_utime) + ns(usage.ru_stime);
  }

  /// Checks on the way that rows and OTLP bytes become the same columns, and that objects and columns read alike.
  void Fill(RequestRows rows, Held* held) {
    held->rows = std::move(rows);
    held->arena = std::make_unique<Arena>();
    auto* objects = Arena::CreateMessage<OtlpRequest>(held->arena.get());
    BuildRequest(held->rows, objects);
    held->objects = objects;
    held->otlp = objects->SerializeAsString();
    decode::Decoder decoder;
    const Batch decoded = Decode(held->otlp, &decoder);
    SHEAF_CHECK(decoded->num_rows() == kRequestSpans);
    const auto entry = Encode(decoded);
    held->columns = entry.tables[0].batch;  // As the memtable has it.
    held->log_entry = entry.bytes;
    SHEAF_CHECK(SpanColumns().Make(held->rows)->Equals(*decoded));
    SHEAF_CHECK(DigestColumns(*decoded) == DigestObjects(*objects));
  }

  store::EncodedPayload Encode(const Batch& batch) const {
    store::PayloadRows rows;
    rows.table = TableId(1);
    rows.codec = codec_;
    rows.batch = batch;
    return Must(store::EncodePayload({rows}, int64_t{1} << 30));
  }

  void Enlist() {
    // (a) Ready objects and ready columns.
    contenders_["objects_to_bytes"] = [](const Held& held, Worker* worker, size_t) { Serialize(*held.objects, worker); };
    contenders_["columns_to_log"] = [this](const Held& held, Worker*, size_t) { Encode(held.columns); };
    contenders_["columns_to_stream"] = [](const Held& held, Worker* worker, size_t request) {
      WriteToStream(*held.columns, request == worker->number, worker);
    };
    contenders_["bytes_to_objects"] = [](const Held& held, Worker* worker, size_t) { Parse(held.otlp, worker->arena.Fresh()); };
    contenders_["stream_to_columns"] = [](const Held&, Worker* worker, size_t request) {
      ReadFromStream(request == worker->number, worker);
    };
    contenders_["log_to_columns"] = [this](const Held& held, Worker*, size_t) {
      const auto sections = Must(store::SplitPayload(held.log_entry));
      Must(store::DecodeSection(sections.front(), *codec_));
    };
    // (a2) The same start and end.
    contenders_["rows_to_bytes_protobuf"] = [](const Held& held, Worker* worker, size_t) {
      OtlpRequest* const request = worker->arena.Fresh();
      BuildRequest(held.rows, request);
      Serialize(*request, worker);
    };
    contenders_["rows_to_bytes_sheaf"] = [](const Held& held, Worker* worker, size_t request) {
      WriteToStream(*worker->columns.Make(held.rows), request == worker->number, worker);
    };
    contenders_["bytes_to_values_protobuf"] = [](const Held& held, Worker* worker, size_t) {
      worker->digest += DigestObjects(Parse(held.otlp, worker->arena.Fresh()));
    };
    contenders_["bytes_to_values_sheaf"] = [](const Held&, Worker* worker, size_t request) {
      worker->digest += DigestColumns(*ReadFromStream(request == worker->number, worker));
    };
    // (b) and (c) What arrives, into our table.
    contenders_["otlp_to_table"] = [](const Held& held, Worker* worker, size_t) { Decode(held.otlp, &worker->decoder); };
    contenders_["otlp_to_log"] = [this](const Held& held, Worker* worker, size_t) {
      Encode(Decode(held.otlp, &worker->decoder));
    };
    contenders_["otap_to_table"] = [this](const Held&, Worker* worker, size_t request) { DecodeOtap(worker, request); };
  }

  void Work(const Contender& contender, Worker* worker) {
    for (size_t i = worker->number; i < requests_; i += workers_.size())
      contender(held_[i % held_.size()], worker, i % held_.size());
  }

  void ReadStreams() {
    for (const Worker& worker : workers_) {
      auto& stream = otap_.emplace_back();
      ReadMessages(fmt::format("{}/otap-{}.bin", folder_, worker.number), [&](std::string message) {
        stream.push_back(std::move(message));
        return true;
      });
    }
  }
  /// A stream begins anew with the first request: its schemas and first dictionaries count.
  void DecodeOtap(Worker* worker, size_t request) {
    if (request == worker->number) worker->otap_stream = std::make_unique<decode::OtapStream>(decode::OtapSignal::kTraces);
    Must(wire::ReadBatchArrowRecords(otap_[worker->number].at(request / workers_.size()), &worker->otap_batch));
    const auto result = Must(worker->otap_decoder.Decode(worker->otap_stream.get(), worker->otap_batch));
    SHEAF_CHECK(result.accepted == kRequestSpans);
  }

  const size_t requests_;
  const std::string folder_;
  std::vector<Worker> workers_;
  std::shared_ptr<const store::BatchCodec> codec_;
  std::vector<Held> held_;
  std::vector<std::vector<std::string>> otap_;  // Messages, by thread.
  std::map<std::string, Contender> contenders_;
};

}  // namespace
}  // namespace sheaf::bench

int main(int argc, char** argv) {
  const int64_t spans = argc == 5 ? std::atoll(argv[2]) : 0, threads = argc == 5 ? std::atoll(argv[3]) : 0;
  if (spans < 1'000 || spans % 1'000 != 0 || threads < 1 || 200 % threads != 0) {
    std::fprintf(stderr,
                 "usage: headline_codec source|realistic SPANS THREADS FOLDER; SPANS a multiple of 1,000, THREADS a divisor of 200\n");
    return 2;
  }
  sheaf::bench::Contest contest(argv[1], spans, static_cast<size_t>(threads), argv[4]);
  std::cout << R"({"ready": true})" << std::endl;
  for (std::string line; std::getline(std::cin, line) && line != "exit";) std::cout << contest.Run(line) << std::endl;
  return 0;
}
