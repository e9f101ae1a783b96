/// Sheaf's side of the comparison: query_engine DIRECTORY [MEMORY_MIB]
///
/// Prints a line when it is ready. Each line of the input is {"sql": …, "answer": FILE or null}; the answer to it is a line of
/// {"seconds": until the last batch of the result was read, "rows": …, "cpu_seconds": …, "spilled_bytes": …} or {"error": …}.
/// Where a file is named, it gets the first 10,000 rows as an Arrow stream, after the clock has stopped.

#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <iostream>
#include <string>

#include <arrow/io/file.h>
#include <arrow/ipc/writer.h>
#include <nlohmann/json.hpp>

#include "../must.h"
#include "core/log.h"
#include "io/clock.h"
#include "io/posix.h"
#include "query/engine.h"
#include "store/database.h"

namespace sheaf::bench {
namespace {

constexpr int64_t kAnswerRows = 10'000;

double CpuSeconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

Status WriteAnswer(const std::string& path, const std::shared_ptr<arrow::Schema>& schema,
                   const arrow::RecordBatchVector& batches) {
  SHEAF_ASSIGN_OR_RETURN(auto file, arrow::io::FileOutputStream::Open(path));
  SHEAF_ASSIGN_OR_RETURN(auto writer, arrow::ipc::MakeStreamWriter(file, schema));
  for (const auto& batch : batches) SHEAF_RETURN_NOT_OK(writer->WriteRecordBatch(*batch));
  SHEAF_RETURN_NOT_OK(writer->Close());
  return file->Close();
}

Result<nlohmann::json> Answer(query::Engine* engine, const nlohmann::json& asked) {
  const bool keep = !asked["answer"].is_null();
  arrow::RecordBatchVector kept;
  int64_t rows = 0;
  const double cpu = CpuSeconds();
  const auto start = std::chrono::steady_clock::now();
  SHEAF_ASSIGN_OR_RETURN(const auto query, engine->Start({.sql = asked["sql"].get<std::string>()}));
  while (true) {
    SHEAF_ASSIGN_OR_RETURN(auto batch, query->Next());
    if (!batch) break;
    if (keep && rows < kAnswerRows) kept.push_back(batch->Slice(0, kAnswerRows - rows));
    rows += batch->num_rows();
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (keep) SHEAF_RETURN_NOT_OK(WriteAnswer(asked["answer"], query->schema(), kept));
  const query::QueryStats stats = query->stats();
  return nlohmann::json{
      {"seconds", seconds}, {"rows", rows}, {"cpu_seconds", CpuSeconds() - cpu}, {"spilled_bytes", stats.spilled_bytes}};
}

int Main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: query_engine DIRECTORY [MEMORY_MIB]\n");
    return 2;
  }
  ConfigureLog(LogLevel::kError, false);
  store::Options options;
  options.directory = argv[1];
  options.cold_after_ms = INT64_MAX / 2'000'000;
  options.scrub_interval_ms = 0;
  options.snapshot_interval_ms = 0;
  const auto database = Must(store::Database::Open(io::PosixFileSystem(), io::SystemClock(), options));
  const int64_t memory_mib = argc > 2 ? std::atoll(argv[2]) : 4096;
  auto engine = Must(query::Engine::Open(database.get(), {.threads = 2, .memory_bytes_max = memory_mib << 20, .timeout_ms = 0}));
  std::cout << "{\"ready\": \"sheaf\"}" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    const auto answer = Answer(engine.get(), nlohmann::json::parse(line));
    std::cout << (answer.ok() ? *answer : nlohmann::json{{"error", answer.status().ToString()}}).dump() << std::endl;
  }
  engine.reset();
  Must(database->Close());
  return 0;
}

}  // namespace
}  // namespace sheaf::bench

int main(int argc, char** argv) { return sheaf::bench::Main(argc, argv); }
