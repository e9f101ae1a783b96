/// What turning OTLP bytes into record batches costs, beside libprotobuf's arena parse of the same bytes
/// (which only makes message objects: no columns yet).
///
///   decode_comparison [--spans N] [--batch N] [--repetitions N] [--write FILE]
///
/// resident: one request over and over, in the cache, its branches learnt: the best case.
/// cold:     all requests in turn, more than the caches hold: what a server sees.
/// kept:     cold, and every batch written out as an Arrow IPC message, as the log and the memtable keep it.
/// Decoder and libprotobuf take turns, so that a noisy machine disturbs both; min, median and max over
/// the repetitions are printed, in nanoseconds a span. --write stores the requests for pdata/.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <arrow/buffer.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/writer.h>
#include <google/protobuf/arena.h>

#include "decode/decoder.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.pb.h"

namespace sheaf {
namespace {

namespace otlp = opentelemetry::proto;
using Request = otlp::collector::trace::v1::ExportTraceServiceRequest;

struct Settings {
  int64_t spans = 200'000;
  int64_t batch = 1000;
  int repetitions = 7;
  std::string write;
};

void AddText(otlp::trace::v1::Span* span, const char* key, const std::string& value) {
  auto* attribute = span->add_attributes();
  attribute->set_key(key);
  attribute->mutable_value()->set_string_value(value);
}
void AddNumber(otlp::trace::v1::Span* span, const char* key, int64_t value) {
  auto* attribute = span->add_attributes();
  attribute->set_key(key);
  attribute->mutable_value()->set_int_value(value);
}

/// Spans of ten services with six attributes: about 262 bytes each.
std::string MakeRequest(int64_t spans, std::mt19937_64* random) {
  static const char* const kMethods[] = {"GET", "POST", "PUT", "DELETE"};
  static const char* const kSystems[] = {"postgresql", "redis", "mysql", "mongodb", "kafka"};
  const auto below = [&](uint64_t n) { return (*random)() % n; };
  const auto id = [&](size_t size) {
    std::string bytes(size, '\1');
    for (char& byte : bytes) byte = static_cast<char>(1 + below(255));
    return bytes;
  };
  Request request;
  std::vector<otlp::trace::v1::ScopeSpans*> services;
  for (int i = 0; i < 10; ++i) {
    auto* resource = request.add_resource_spans();
    auto* name = resource->mutable_resource()->add_attributes();
    name->set_key("service.name");
    name->mutable_value()->set_string_value("service-" + std::to_string(i));
    services.push_back(resource->add_scope_spans());
    services.back()->mutable_scope()->set_name("bench");
  }
  uint64_t time = 1'700'000'000'000'000'000;
  for (int64_t i = 0; i < spans; ++i) {
    auto* span = services[below(services.size())]->add_spans();
    span->set_trace_id(id(16));
    span->set_span_id(id(8));
    if (below(8) != 0) span->set_parent_span_id(id(8));
    span->set_name("/api/v1/resource-" + std::to_string(below(50)));
    span->set_kind(static_cast<otlp::trace::v1::Span::SpanKind>(1 + below(5)));
    span->set_start_time_unix_nano(time += below(1'000'000));
    span->set_end_time_unix_nano(time + below(100'000'000));
    AddText(span, "http.method", kMethods[below(std::size(kMethods))]);
    AddNumber(span, "http.status_code", below(20) == 0 ? 500 : 200 + static_cast<int64_t>(below(5)));
    AddText(span, "http.url", "https://shop.example.com/api/v1/items/" + std::to_string(below(1000)));
    AddText(span, "db.system", kSystems[below(std::size(kSystems))]);
    AddText(span, "net.peer.name", "host-" + std::to_string(below(200)) + ".internal");
    AddNumber(span, "thread.id", static_cast<int64_t>(below(256)));
    if (below(20) == 0) span->mutable_status()->set_code(otlp::trace::v1::Status::STATUS_CODE_ERROR);
  }
  return request.SerializeAsString();
}

double NanosecondsNow() {
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

[[noreturn]] void Fail(const std::string& message) {
  std::fprintf(stderr, "decode_comparison: %s\n", message.c_str());
  std::exit(1);
}

void Check(const Status& status) {
  if (!status.ok()) Fail(status.ToString());
}

/// One of the things compared: does all its work once and says for how many spans.
struct Contender {
  std::string name;
  std::function<int64_t()> run;
  std::vector<double> nanoseconds;  // A span, one a repetition.
};

class Comparison {
 public:
  Comparison(const Settings& settings, const std::vector<std::string>& requests) : settings_(settings), requests_(requests) {
    const auto resident = [this](auto&& one) {
      const int64_t loops = std::max<int64_t>(1, 50'000 / settings_.batch);
      for (int64_t i = 0; i < loops; ++i) one(requests_[0]);
      return loops * settings_.batch;
    };
    const auto cold = [this](auto&& one) {
      for (const std::string& request : requests_) one(request);
      return static_cast<int64_t>(requests_.size()) * settings_.batch;
    };
    const auto decode = [this](const std::string& bytes) { Decode(bytes); };
    const auto keep = [this](const std::string& bytes) { Keep(*Decode(bytes).batches[0].batch); };
    const auto parse = [](const std::string& bytes) {
      google::protobuf::Arena arena;
      if (!google::protobuf::Arena::CreateMessage<Request>(&arena)->ParseFromString(bytes)) Fail("libprotobuf refuses the request");
    };
    contenders_ = {{"sheaf resident", [=] { return resident(decode); }, {}}, {"libprotobuf resident", [=] { return resident(parse); }, {}},
                   {"sheaf cold", [=] { return cold(decode); }, {}},         {"libprotobuf cold", [=] { return cold(parse); }, {}},
                   {"sheaf kept", [this, cold, keep] {
                      kept_.clear();
                      return cold(keep);
                    }, {}}};
  }

  void Run() {
    for (int repetition = -1; repetition < settings_.repetitions; ++repetition) {  // The first warms up.
      for (Contender& contender : contenders_) {
        const double begin = NanosecondsNow();
        const int64_t spans = contender.run();
        if (repetition >= 0) contender.nanoseconds.push_back((NanosecondsNow() - begin) / static_cast<double>(spans));
      }
    }
    size_t bytes = 0, kept = 0;
    for (const std::string& request : requests_) bytes += request.size();
    for (const auto& buffer : kept_) kept += static_cast<size_t>(buffer->size());
    const double all = static_cast<double>(requests_.size()) * static_cast<double>(settings_.batch);
    std::printf("batches of %lld spans, %.1f OTLP bytes a span, %.1f kept\n", static_cast<long long>(settings_.batch),
                static_cast<double>(bytes) / all, static_cast<double>(kept) / all);
    for (Contender& contender : contenders_) {
      auto& ns = contender.nanoseconds;
      std::sort(ns.begin(), ns.end());
      std::printf("%-22s min %7.1f  median %7.1f  max %7.1f ns/span\n", contender.name.c_str(), ns.front(), ns[ns.size() / 2], ns.back());
    }
    const auto median = [&](size_t i) { return contenders_[i].nanoseconds[contenders_[i].nanoseconds.size() / 2]; };
    std::printf("times as fast as libprotobuf's parse (medians): resident %.2f, cold %.2f, cold and kept %.2f\n", median(1) / median(0),
                median(3) / median(2), median(3) / median(4));
  }

 private:
  decode::DecodeResult Decode(const std::string& bytes) {
    auto result = decoder_.Traces(std::as_bytes(std::span(bytes)));
    if (!result.ok()) Fail(result.status().ToString());
    return std::move(*result);
  }
  void Keep(const arrow::RecordBatch& batch) {
    auto options = arrow::ipc::IpcWriteOptions::Defaults();
    options.use_threads = false;
    auto stream = arrow::io::BufferOutputStream::Create(int64_t{400} * batch.num_rows()).ValueOrDie();
    auto writer = arrow::ipc::MakeStreamWriter(stream, batch.schema(), options).ValueOrDie();
    Check(writer->WriteRecordBatch(batch));
    Check(writer->Close());
    kept_.push_back(stream->Finish().ValueOrDie());
  }

  const Settings settings_;
  const std::vector<std::string>& requests_;
  decode::Decoder decoder_;
  std::vector<std::shared_ptr<arrow::Buffer>> kept_;
  std::vector<Contender> contenders_;
};

Settings ParseSettings(int argc, char** argv) {
  Settings settings;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (name == "--spans") {
      settings.spans = std::atoll(argv[i + 1]);
    } else if (name == "--batch") {
      settings.batch = std::atoll(argv[i + 1]);
    } else if (name == "--repetitions") {
      settings.repetitions = std::atoi(argv[i + 1]);
    } else if (name == "--write") {
      settings.write = argv[i + 1];
    } else {
      Fail("unknown setting " + name);
    }
  }
  if (settings.spans < settings.batch || settings.batch < 1 || settings.repetitions < 1) Fail("settings must be positive, spans >= batch");
  return settings;
}

/// [u32 length, little-endian][request] for each.
void WriteRequests(const std::string& path, const std::vector<std::string>& requests) {
  std::ofstream file(path, std::ios::binary);
  for (const std::string& request : requests) {
    const auto size = static_cast<uint32_t>(request.size());
    file.write(reinterpret_cast<const char*>(&size), sizeof(size));
    file.write(request.data(), size);
  }
  if (!file) Fail("cannot write " + path);
}

}  // namespace
}  // namespace sheaf

int main(int argc, char** argv) {
  const sheaf::Settings settings = sheaf::ParseSettings(argc, argv);
  std::mt19937_64 random(7);
  std::vector<std::string> requests;
  for (int64_t i = 0; i < settings.spans / settings.batch; ++i) requests.push_back(sheaf::MakeRequest(settings.batch, &random));
  if (!settings.write.empty()) sheaf::WriteRequests(settings.write, requests);
  sheaf::Comparison(settings, requests).Run();
  return 0;
}
