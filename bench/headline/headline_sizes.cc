/// What spans take in memory and compressed, ours beside protobuf's.
///
///   headline_sizes write WORKLOAD SPANS FILE      requests of 1,000 spans, each after its length
///   headline_sizes hold columns|arena|heap FILE   holds all spans of the file in one form; prints {"counted", "resident"} bytes
///   headline_sizes bytes FILE FOLDER              sizes on the wire and in cold parts, all with Zstd 3; parts are made in FOLDER
///
/// counted: our buffers, as the memtable holds them (the log's entry); protobuf's SpaceUsed() of arenas, SpaceUsedLong() of
/// objects on the heap. resident: by how much the process grew, allocators and all; one process a form.

#include <unistd.h>

#include <functional>
#include <iostream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <arrow/io/memory.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/compression.h>
#include <fmt/format.h>
#include <google/protobuf/arena.h>

#include "../must.h"
#include "core/check.h"
#include "decode/decoder.h"
#include "decode/otap_encoder.h"
#include "io/posix.h"
#include "otlp_objects.h"
#include "parts/part.h"
#include "requests_file.h"
#include "store/log_payload.h"

namespace sheaf::bench {
namespace {

using Batch = std::shared_ptr<arrow::RecordBatch>;
constexpr int kZstdLevel = 3;  // That of our cold parts, and zstd's own default.
constexpr int64_t kRequestSpans = 1'000;

int64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  int64_t pages = 0, resident = 0;
  file >> pages >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

std::unique_ptr<arrow::util::Codec> ZstdCodec() {
  return Must(Result<std::unique_ptr<arrow::util::Codec>>(arrow::util::Codec::Create(arrow::Compression::ZSTD, kZstdLevel)));
}
arrow::util::Codec& Zstd() {
  static const auto codec = ZstdCodec();
  return *codec;
}
int64_t ZstdBytes(std::string_view bytes) {
  arrow::util::Codec& codec = Zstd();
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  const auto size = static_cast<int64_t>(bytes.size());
  std::vector<uint8_t> out(static_cast<size_t>(codec.MaxCompressedLen(size, data)));
  return Must(Result<int64_t>(codec.Compress(size, data, std::ssize(out), out.data())));
}

/// Requests to log entries, as the memtable holds them.
class Entries {
 public:
  store::EncodedPayload Make(const std::string& otlp) {
    const auto result = Must(decoder_.Traces(std::as_bytes(std::span(otlp))));
    SHEAF_CHECK(result.batches.size() == 1 && result.rejected == 0);
    store::PayloadRows rows;
    rows.table = TableId(1);
    rows.codec = codec_;
    rows.batch = result.batches[0].batch;
    return Must(store::EncodePayload({rows}, int64_t{1} << 30));
  }

 private:
  decode::Decoder decoder_;
  const std::shared_ptr<const store::BatchCodec> codec_ =
      Must(store::BatchCodec::Make(decode::SignalSchema(decode::Signal::kTraces)));
};

void Write(std::string_view workload, int64_t spans, const std::string& path) {
  SpanSource source(workload);
  std::ofstream file(path, std::ios::binary);
  for (int64_t made = 0; made < spans; made += kRequestSpans) {
    google::protobuf::Arena arena;
    auto* request = google::protobuf::Arena::CreateMessage<OtlpRequest>(&arena);
    BuildRequest(source.Next(kRequestSpans), request);
    WriteMessage(&file, request->SerializeAsString());
  }
  if (file.flush()) return;
  std::fprintf(stderr, "cannot write %s\n", path.c_str());
  std::exit(1);
}

/// hold(request) keeps its spans and returns their counted bytes; the first call warms up what does not grow.
std::string Hold(const std::string& path, const std::function<int64_t(const std::string&)>& hold) {
  int64_t counted = 0, before = -1;
  ReadMessages(path, [&](std::string request) {
    if (before < 0) {
      hold(request);
      before = ResidentBytes();
    }
    counted += hold(request);
    return true;
  });
  return fmt::format(R"({{"counted": {}, "resident": {}}})", counted, ResidentBytes() - before);
}

std::string Hold(const std::string& form, const std::string& path) {
  if (form == "columns") {
    Entries entries;
    std::vector<store::EncodedPayload> held;
    return Hold(path, [&](const std::string& otlp) {
      held.push_back(entries.Make(otlp));
      return held.back().bytes->capacity();
    });
  }
  if (form == "arena") {
    std::vector<std::unique_ptr<google::protobuf::Arena>> held;
    return Hold(path, [&](const std::string& otlp) {
      held.push_back(std::make_unique<google::protobuf::Arena>());
      SHEAF_CHECK(google::protobuf::Arena::CreateMessage<OtlpRequest>(held.back().get())->ParseFromString(otlp));
      return static_cast<int64_t>(held.back()->SpaceUsed());
    });
  }
  std::vector<std::unique_ptr<OtlpRequest>> held;
  return Hold(path, [&](const std::string& otlp) {
    held.push_back(std::make_unique<OtlpRequest>());
    SHEAF_CHECK(held.back()->ParseFromString(otlp));
    return static_cast<int64_t>(held.back()->SpaceUsedLong());
  });
}

/// An Arrow stream of all batches: `compression` buffer by buffer, dictionaries sent anew where a batch has others. Returns its
/// bytes.
int64_t StreamBytes(std::span<const Batch> batches) {
  const auto out = Must(Result<std::shared_ptr<arrow::io::BufferOutputStream>>(arrow::io::BufferOutputStream::Create()));
  auto options = arrow::ipc::IpcWriteOptions::Defaults();
  options.codec = ZstdCodec();
  options.emit_dictionary_deltas = true;
  const auto writer = Must(Result<std::shared_ptr<arrow::ipc::RecordBatchWriter>>(
      arrow::ipc::MakeStreamWriter(out, batches.front()->schema(), options)));
  for (const Batch& batch : batches) Must(writer->WriteRecordBatch(*batch));
  Must(writer->Close());
  return Must(Result<std::shared_ptr<arrow::Buffer>>(out->Finish()))->size();
}

/// An OTel-Arrow stream by our encoder: `codec` buffer by buffer, or each message in a Zstd frame, as gRPC would.
class OtapSize {
 public:
  explicit OtapSize(wire::IpcCodec codec)
      : inside_(codec != wire::IpcCodec::kNone), encoder_(decode::OtapSignal::kTraces, {.codec = codec, .zstd_level = kZstdLevel}) {}
  void Add(const Batch& batch) {
    const decode::TableBatch table{decode::Signal::kTraces, batch};
    message_.clear();
    Must(encoder_.Encode(std::span(&table, 1), &message_));
    bytes_ += inside_ ? std::ssize(message_) : ZstdBytes(message_);
  }
  int64_t bytes() const { return bytes_; }

 private:
  const bool inside_;
  decode::OtapStreamEncoder encoder_;
  std::string message_;
  int64_t bytes_ = 0;
};

/// Bytes of data and index of one cold part with all spans.
std::pair<int64_t, int64_t> ColdPartBytes(const std::string& folder, const std::vector<Batch>& batches) {
  const auto& schema = decode::SignalSchema(decode::Signal::kTraces);
  const auto column = [&](const char* name) { return schema->GetFieldIndex(name); };
  parts::Layout layout;  // As otel.traces has it.
  layout.time_column = column("start_time");
  layout.filter_columns = {column("trace_id"), column("span_id"), column("service_name"), column("name")};
  layout.cluster_traces = true;
  layout.trace_column = column("trace_id");
  layout.service_column = column("service_name");
  layout.parent_column = column("parent_span_id");
  parts::PartInfo info;
  info.id = PartId(1);
  info.format = parts::Format::kCold;
  const auto written = Must(parts::WritePart(io::PosixFileSystem(), folder, info, layout, schema, batches));
  return {written.data_bytes, written.index_bytes};
}

std::string Bytes(const std::string& path, const std::string& folder) {
  int64_t spans = 0, raw = 0, raw_zstd = 0, entry = 0, entry_zstd = 0, alone_zstd = 0;
  Entries entries;
  std::vector<store::EncodedPayload> kept;
  std::vector<Batch> batches;
  std::string whole;
  OtapSize otap_buffers(wire::IpcCodec::kZstd), otap_messages(wire::IpcCodec::kNone);
  ReadMessages(path, [&](std::string otlp) {
    kept.push_back(entries.Make(otlp));
    batches.push_back(kept.back().tables[0].batch);
    spans += batches.back()->num_rows();
    raw += std::ssize(otlp);
    raw_zstd += ZstdBytes(otlp);
    entry += kept.back().bytes->size();
    entry_zstd += ZstdBytes(std::string_view(*kept.back().bytes));
    alone_zstd += StreamBytes(std::span(batches).last(1));
    otap_buffers.Add(batches.back());
    otap_messages.Add(batches.back());
    whole += otlp;
    return true;
  });
  const int64_t stream_zstd = StreamBytes(batches), whole_zstd = ZstdBytes(whole);
  whole = std::string();
  const auto [data, index] = ColdPartBytes(folder, batches);
  return fmt::format(
      R"({{"spans": {}, "protobuf": {}, "protobuf_zstd": {}, "protobuf_whole_zstd": {}, "log_entry": {}, "log_entry_zstd": {}, )"
      R"("ipc_alone_zstd": {}, "ipc_stream_zstd": {}, "our_otap_zstd": {}, "our_otap_frames_zstd": {}, )"
      R"("cold_part": {}, "cold_index": {}}})",
      spans, raw, raw_zstd, whole_zstd, entry, entry_zstd, alone_zstd, stream_zstd, otap_buffers.bytes(),
      otap_messages.bytes(), data, index);
}

}  // namespace
}  // namespace sheaf::bench

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() == 4 && words[0] == "write") {
    sheaf::bench::Write(words[1], std::atoll(argv[3]), words[3]);
  } else if (words.size() == 3 && words[0] == "hold") {
    std::cout << sheaf::bench::Hold(words[1], words[2]) << std::endl;
  } else if (words.size() == 3 && words[0] == "bytes") {
    std::cout << sheaf::bench::Bytes(words[1], words[2]) << std::endl;
  } else {
    std::fprintf(stderr, "usage: headline_sizes write WORKLOAD SPANS FILE | hold columns|arena|heap FILE | bytes FILE FOLDER\n");
    return 2;
  }
  return 0;
}
