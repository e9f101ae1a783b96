/// What grows with the number of parts and bytes: opening a database of 10,000 parts, and a snapshot of 10 GB beside a copy of
/// the same bytes. Prints one JSON object.
///
///   storage_limits FOLDER [PARTS [GIGABYTES]]
///
/// The parts are written by parts::WritePart(), 10 rows each, and named by one manifest: by appends and flushes it would take an
/// hour. The snapshot's rows are appended as a program would, in batches of 50,000.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <arrow/api.h>

#include "../must.h"
#include "core/log.h"
#include "io/posix.h"
#include "parts/manifest.h"
#include "parts/part.h"
#include "store/database.h"

namespace sheaf::bench {
namespace {

double Seconds(const auto& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::shared_ptr<arrow::Schema> Columns() {
  return arrow::schema({arrow::field("time", arrow::timestamp(arrow::TimeUnit::NANO), false), arrow::field("a", arrow::int64()),
                        arrow::field("b", arrow::int64()), arrow::field("c", arrow::float64())});
}

std::shared_ptr<arrow::RecordBatch> Rows(int64_t rows, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::shared_ptr<arrow::ArrayData>> columns;
  const auto schema = Columns();
  for (const auto& field : schema->fields()) {
    auto buffer = Must(arrow::AllocateBuffer(rows * 8));
    auto* values = reinterpret_cast<uint64_t*>(buffer->mutable_data());
    for (int64_t i = 0; i < rows; ++i) values[i] = random() >> 12;
    columns.push_back(
        arrow::ArrayData::Make(field->type(), rows, {nullptr, std::shared_ptr<arrow::Buffer>(std::move(buffer))}, 0));
  }
  return arrow::RecordBatch::Make(schema, rows, std::move(columns));
}

std::unique_ptr<store::Database> Open(const std::string& folder) {
  store::Options options;
  options.directory = folder;
  options.free_space_min_fraction = 0;
  options.cold_after_ms = int64_t{1} << 50;
  return Must(store::Database::Open(io::PosixFileSystem(), io::SystemClock(), options));
}

store::NewTable Ticks() {
  store::NewTable table;
  table.schema_name = "main";
  table.name = "ticks";
  table.schema = Columns();
  table.settings.time_column = "time";
  return table;
}

void OpenManyParts(const std::string& folder, int64_t parts) {
  auto* files = io::PosixFileSystem();
  std::shared_ptr<const store::TableInfo> info;
  {
    const auto database = Open(folder);
    info = Must(database->CreateTable(Ticks()));
    Must(database->Append({{info->id, Rows(10, 0)}}));
    Must(database->Flush());
    Must(database->Close());
  }
  parts::ManifestState state = Must(parts::LoadManifest(files, folder)).state;
  const parts::PartInfo model = state.parts.at(0);
  for (int64_t i = 1; i < parts; ++i) {
    parts::PartInfo part;
    part.id = state.next_part;
    state.next_part = state.next_part.Next();
    part.table = model.table;
    part.schema_version = model.schema_version;
    part.database_uuid = model.database_uuid;
    part.min_lsn = model.min_lsn;
    part.max_lsn = model.max_lsn;
    state.parts.push_back(
        Must(parts::WritePart(files, folder + "/parts", part, info->layout, Columns(), {Rows(10, static_cast<uint64_t>(i))})));
    if (i % 1000 == 0) std::fprintf(stderr, "%lld parts\n", static_cast<long long>(i));
  }
  ++state.number;
  Must(parts::CommitManifest(files, folder, state));
  std::unique_ptr<store::Database> database;
  std::vector<double> took;
  for (int i = 0; i < 5; ++i) {
    took.push_back(Seconds([&] { database = Open(folder); }));
    int64_t rows = Must(database->GetSnapshot()->Table(info->id)).rows;
    if (rows != parts * 10) {
      std::fprintf(stderr, "%lld rows instead of %lld\n", static_cast<long long>(rows), static_cast<long long>(parts * 10));
      std::exit(1);
    }
    Must(database->Close());
    database.reset();
  }
  std::sort(took.begin(), took.end());
  std::printf("\"open\": {\"parts\": %lld, \"median_s\": %.2f, \"min_s\": %.2f, \"max_s\": %.2f}, ",
              static_cast<long long>(parts), took[2], took.front(), took.back());
}

void SnapshotMuch(const std::string& folder, int64_t bytes) {
  const auto database = Open(folder);
  const auto info = Must(database->CreateTable(Ticks()));
  const auto batch = Rows(50'000, 1);
  for (int64_t sent = 0; sent < bytes;) {
    const auto done = database->Append({{info->id, batch}});
    if (done.ok()) {
      sent += batch->num_rows() * 32;
    } else if (KindOf(done.status()) != ErrorKind::kThrottled) {
      Must(done.status());
    }
  }
  Must(database->Flush());
  const double kept = static_cast<double>(database->GetStats().part_bytes);
  store::SnapshotInfo first;
  const double full_s = Seconds([&] { first = Must(database->CreateSnapshot("first")); });
  Must(database->Append({{info->id, batch}}));
  const double next_s = Seconds([&] { Must(database->CreateSnapshot("second")); });
  const double copy_s = Seconds([&] { std::filesystem::copy(folder + "/parts", folder + "/copy"); });
  std::printf("\"snapshot\": {\"gb\": %.2f, \"first_s\": %.3f, \"next_s\": %.3f, \"copy_of_the_bytes_s\": %.2f}", kept / 1e9,
              full_s, next_s, copy_s);
  Must(database->Close());
}

int Main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: storage_limits FOLDER [PARTS [GIGABYTES]]\n");
    return 2;
  }
  ConfigureLog(LogLevel::kError, false);
  const std::string folder = argv[1];
  std::printf("{");
  OpenManyParts(folder + "/many", argc > 2 ? std::atoll(argv[2]) : 10'000);
  std::filesystem::remove_all(folder + "/many");
  SnapshotMuch(folder + "/much", (argc > 3 ? std::atoll(argv[3]) : 10) * 1'000'000'000);
  std::printf("}\n");
  return 0;
}

}  // namespace
}  // namespace sheaf::bench

int main(int argc, char** argv) { return sheaf::bench::Main(argc, argv); }
