/// The C++ side of blocks.py: headline_blocks FILE
///
/// A million rows in ten batches: start_time, trace_id and span_id (ten spans a trace, random ids, in no order), k (100,000
/// distinct numbers), v. They are written to FILE as an Arrow file for the peers. Each line of the input names a contender, which
/// then does its work once; the answer is a line {"ms": by the wall, "cpu_ms": by all threads, "check": what was found, as the
/// peers have it}.
///
///   sort          the order by (trace_id, start_time, span_id) and all rows gathered in it, on two threads
///   sort_order    the order alone; sort_1 and sort_order_1 are the same on one thread
///   group         the groups of k, and of each the count, sum, least and greatest v
///   group_traces  the groups of trace_id alone, as sealing finds traces
///   find          the rows with one trace id (columns::IdSearch)
///   plain_read    every byte of the trace ids read, 16 at a time
///   sample        a decision for every trace id at one threshold (columns::SampleTraces), a hundred times over

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <functional>
#include <iostream>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <arrow/array/array_binary.h>
#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/io/file.h>
#include <arrow/ipc/writer.h>
#include <fmt/format.h>

#include "../must.h"
#include "columns/group_rows.h"
#include "columns/id_search.h"
#include "columns/row_order.h"
#include "columns/row_union.h"
#include "columns/sampler.h"
#include "core/check.h"

namespace sheaf::bench {
namespace {

constexpr int64_t kRows = 1'000'000, kBatches = 10;
constexpr int64_t kGroups = 100'000, kSpansPerTrace = 10;
constexpr int64_t kGranuleRows = 16'384;
constexpr int kSamples = 100;

double CpuMs() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto ms = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_usec) * 1e-3;
  };
  return ms(usage.ru_utime) + ms(usage.ru_stime);
}

class Million {
 public:
  Million() {
    std::mt19937_64 random(3);
    std::vector<std::array<uint64_t, 2>> traces(static_cast<size_t>(kRows / kSpansPerTrace));
    for (auto& trace : traces) trace = {random(), random()};
    for (int64_t b = 0; b < kBatches; ++b) batches_.push_back(MakeBatch(traces, &random));
    rows_ = Must(columns::RowUnion::Make(schema_, batches_));
    wanted_ = std::string(reinterpret_cast<const char*>(traces[4'711].data()), 16);
    search_ = Must(columns::IdSearch::Make(*arrow::fixed_size_binary(16), std::span(&wanted_, 1)));
    for (const auto& batch : batches_) {
      const auto& ids = static_cast<const arrow::FixedSizeBinaryArray&>(*batch->column(1));
      trace_ids_.append(reinterpret_cast<const char*>(ids.raw_values()), static_cast<size_t>(ids.length()) * 16);
    }
    all_ids_ =
        std::make_shared<arrow::FixedSizeBinaryArray>(arrow::fixed_size_binary(16), kRows, arrow::Buffer::FromString(trace_ids_));
    kept_.resize(static_cast<size_t>(kRows) / 64 + 1);
  }

  void Write(const std::string& path) const {
    const auto file = Must(Result<std::shared_ptr<arrow::io::FileOutputStream>>(arrow::io::FileOutputStream::Open(path)));
    const auto writer = Must(Result<std::shared_ptr<arrow::ipc::RecordBatchWriter>>(arrow::ipc::MakeFileWriter(file, schema_)));
    for (const auto& batch : batches_) Must(writer->WriteRecordBatch(*batch));
    Must(writer->Close());
    Must(file->Close());
  }

  /// The name of the id that `find` looks for.
  const std::string& wanted() const { return wanted_; }

  std::string Sort(int threads) const {
    const auto order = Must(columns::SortRows(*rows_, {1, 0, 2}, threads));
    arrow::RecordBatchVector sorted;
    constexpr size_t kStep = 8 * kGranuleRows;  // As WritePart() does.
    for (size_t at = 0; at < order.size(); at += kStep) {
      auto granules = Must(rows_->Gather(std::span(order).subspan(at, std::min(kStep, order.size() - at)), kGranuleRows, threads));
      std::move(granules.begin(), granules.end(), std::back_inserter(sorted));
    }
    const auto& last = *sorted.back()->column(0);
    return fmt::format("{}", last.data()->GetValues<int64_t>(1)[last.length() - 1]);
  }
  std::string SortOrder(int threads) const { return fmt::format("{}", Must(columns::SortRows(*rows_, {1, 0, 2}, threads)).back()); }

  std::string Group() const {
    const auto groups = Must(columns::GroupRows(rows_->column(3), kRows));
    struct Sums {
      int64_t count = 0, sum = 0, least = std::numeric_limits<int64_t>::max(), greatest = std::numeric_limits<int64_t>::min();
    };
    std::vector<Sums> sums(size_t{groups.groups} + 1);
    constexpr size_t kAhead = 64;
    size_t row = 0;
    for (const auto& batch : batches_) {
      const auto* values = batch->column(4)->data()->GetValues<int64_t>(1);
      for (int64_t i = 0; i < batch->num_rows(); ++i, ++row) {
        if (row + kAhead < groups.of_row.size()) __builtin_prefetch(&sums[groups.of_row[row + kAhead]]);
        Sums& one = sums[groups.of_row[row]];
        ++one.count;
        one.sum += values[i];
        one.least = std::min(one.least, values[i]);
        one.greatest = std::max(one.greatest, values[i]);
      }
    }
    int64_t most = 0, sum = 0;
    for (const Sums& one : sums) {
      most = std::max(most, one.count);
      sum += one.sum;
    }
    return fmt::format("{} {} {}", groups.groups, most, sum);
  }
  std::string GroupTraces() const { return fmt::format("{}", Must(columns::GroupRows(rows_->column(1), kRows)).groups); }

  std::string Find() const {
    std::vector<int64_t> found;
    Must(search_->Find(*all_ids_->data(), 0, kRows, &found));
    return fmt::format("{}", found.size());
  }
  std::string PlainRead() const {
    typedef uint64_t Two __attribute__((vector_size(16), may_alias, aligned(8)));
    const auto* values = reinterpret_cast<const Two*>(all_ids_->raw_values());
    Two sum[8] = {};
    for (size_t i = 0; i + 8 <= static_cast<size_t>(kRows); i += 8) {
      for (size_t k = 0; k < 8; ++k) sum[k] |= values[i + k];
    }
    uint64_t all = 0;
    for (const Two& one : sum) all |= one[0] | one[1];
    return fmt::format("{:x}", all);
  }
  std::string Sample() {
    const uint64_t threshold = columns::SamplingThreshold(0.1, 4);
    for (int i = 0; i < kSamples; ++i) {
      columns::SampleTraces(columns::TraceIdOrder::kBytes, all_ids_->raw_values(), kRows / 64 * 64, threshold, kept_.data());
    }
    int64_t kept = 0;
    for (const uint64_t word : kept_) kept += __builtin_popcountll(word);
    return fmt::format("{}", kept);
  }

 private:
  std::shared_ptr<arrow::RecordBatch> MakeBatch(const std::vector<std::array<uint64_t, 2>>& traces,
                                                std::mt19937_64* random) const {
    arrow::Int64Builder time, k, v;
    arrow::FixedSizeBinaryBuilder trace(arrow::fixed_size_binary(16)), span(arrow::fixed_size_binary(8));
    constexpr int64_t kFirstNs = 1'795'824'000'000'000'000;
    for (int64_t i = 0; i < kRows / kBatches; ++i) {
      const uint64_t id = (*random)();
      Must(time.Append(kFirstNs + static_cast<int64_t>((*random)() % 86'400'000'000'000)));
      Must(trace.Append(reinterpret_cast<const uint8_t*>(traces[(*random)() % traces.size()].data())));
      Must(span.Append(reinterpret_cast<const uint8_t*>(&id)));
      Must(k.Append(static_cast<int64_t>((*random)() % kGroups) * 1'000'003));
      Must(v.Append(static_cast<int64_t>((*random)() % 10'000)));
    }
    arrow::ArrayVector columns;
    for (arrow::ArrayBuilder* builder : std::initializer_list<arrow::ArrayBuilder*>{&time, &trace, &span, &k, &v}) {
      columns.push_back(Must(Result<std::shared_ptr<arrow::Array>>(builder->Finish())));
    }
    return arrow::RecordBatch::Make(schema_, kRows / kBatches, std::move(columns));
  }

  const std::shared_ptr<arrow::Schema> schema_ = arrow::schema(
      {arrow::field("start_time", arrow::int64(), false), arrow::field("trace_id", arrow::fixed_size_binary(16), false),
       arrow::field("span_id", arrow::fixed_size_binary(8), false), arrow::field("k", arrow::int64(), false),
       arrow::field("v", arrow::int64(), false)});
  arrow::RecordBatchVector batches_;
  std::unique_ptr<columns::RowUnion> rows_;
  std::string wanted_, trace_ids_;
  std::optional<columns::IdSearch> search_;
  std::shared_ptr<arrow::FixedSizeBinaryArray> all_ids_;
  std::vector<uint64_t> kept_;
};

std::string Run(const std::function<std::string()>& contender) {
  const double cpu = CpuMs();
  const auto begin = std::chrono::steady_clock::now();
  const std::string check = contender();
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
  return fmt::format(R"({{"ms": {:.3f}, "cpu_ms": {:.3f}, "check": "{}"}})", took.count(), CpuMs() - cpu, check);
}

}  // namespace
}  // namespace sheaf::bench

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: headline_blocks FILE\n");
    return 2;
  }
  sheaf::bench::Million million;
  million.Write(argv[1]);
  const std::map<std::string, std::function<std::string()>> contenders = {
      {"sort", [&] { return million.Sort(2); }},
      {"sort_1", [&] { return million.Sort(1); }},
      {"sort_order", [&] { return million.SortOrder(2); }},
      {"sort_order_1", [&] { return million.SortOrder(1); }},
      {"group", [&] { return million.Group(); }},  {"group_traces", [&] { return million.GroupTraces(); }},
      {"find", [&] { return million.Find(); }},    {"plain_read", [&] { return million.PlainRead(); }},
      {"sample", [&] { return million.Sample(); }}};
  std::string hex;
  for (const unsigned char byte : million.wanted()) hex += fmt::format("{:02x}", byte);
  std::cout << fmt::format(R"({{"ready": true, "wanted": "{}"}})", hex) << std::endl;
  for (std::string line; std::getline(std::cin, line) && line != "exit";) {
    const auto found = contenders.find(line);
    std::cout << (found == contenders.end() ? fmt::format(R"({{"error": "no contender '{}'"}})", line)
                                            : sheaf::bench::Run(found->second))
              << std::endl;
  }
  return 0;
}
