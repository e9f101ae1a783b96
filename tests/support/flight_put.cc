/// Puts rows into a table of a server by Flight, many batches at a time, for tests of what breaks on the way.
///
///   flight_put ADDRESS SCHEMA.TABLE BATCHES ROWS [STREAMS [none|lz4|zstd]]
///
/// Row j of batch i has the columns batch = i and n = j. Prints the figures as JSON; exit code 1 where a batch is not acknowledged.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <arrow/array/builder_primitive.h>

#include "client/flight_client.h"
#include "client/flight_put.h"

namespace {

using namespace sheaf;

Result<std::shared_ptr<arrow::RecordBatch>> BatchOf(int64_t number, int64_t rows) {
  arrow::Int64Builder batch, n;
  for (int64_t i = 0; i < rows; ++i) {
    SHEAF_RETURN_NOT_OK(batch.Append(number));
    SHEAF_RETURN_NOT_OK(n.Append(i));
  }
  SHEAF_ASSIGN_OR_RETURN(auto batches, batch.Finish());
  SHEAF_ASSIGN_OR_RETURN(auto numbers, n.Finish());
  static const auto kSchema = arrow::schema({arrow::field("batch", arrow::int64()), arrow::field("n", arrow::int64())});
  return arrow::RecordBatch::Make(kSchema, rows, {std::move(batches), std::move(numbers)});
}

Status Run(char** argv, int streams, const std::string& codec) {
  SHEAF_ASSIGN_OR_RETURN(const client::Url url, client::ParseFlightUrl(argv[1]));
  const std::string table = argv[2];
  const size_t dot = table.find('.');
  if (dot == std::string::npos) return MakeError(ErrorKind::kInvalid, "'{}' is no SCHEMA.TABLE", table);
  client::FlightClientOptions options;
  options.timeout = std::chrono::milliseconds(20'000);
  options.retry = {.first = std::chrono::milliseconds(5), .longest = std::chrono::milliseconds(500)};
  options.connections = streams;
  options.codec = codec == "lz4" ? wire::IpcCodec::kLz4 : codec == "zstd" ? wire::IpcCodec::kZstd : wire::IpcCodec::kNone;
  SHEAF_ASSIGN_OR_RETURN(const auto flight, client::FlightClient::Make(url, options));
  SHEAF_ASSIGN_OR_RETURN(const auto put, client::FlightPut::Open(flight.get(), {table.substr(0, dot), table.substr(dot + 1)},
                                                                {.streams = streams, .attempts_max = 1'000}));
  const int64_t batches = std::atoll(argv[3]), rows = std::atoll(argv[4]);
  for (int64_t i = 0; i < batches; ++i) {
    SHEAF_ASSIGN_OR_RETURN(auto batch, BatchOf(i, rows));
    SHEAF_RETURN_NOT_OK(put->Put(std::move(batch), "", nullptr));
  }
  const Status done = put->Finish();
  const client::FlightClientStats stats = flight->stats();
  std::printf("{\"sent_batches\": %lld, \"sent_rows\": %lld, \"retries\": %lld, \"batches_sent_again\": %lld, \"streams\": %lld}\n",
              static_cast<long long>(stats.sent_batches), static_cast<long long>(stats.sent_rows), static_cast<long long>(stats.retries),
              static_cast<long long>(stats.batches_sent_again), static_cast<long long>(stats.calls));
  return done;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5 || argc > 7) {
    std::fprintf(stderr, "usage: flight_put ADDRESS SCHEMA.TABLE BATCHES ROWS [STREAMS [none|lz4|zstd]]\n");
    return 2;
  }
  const Status done = Run(argv, argc > 5 ? std::atoi(argv[5]) : 1, argc > 6 ? argv[6] : "none");
  if (!done.ok()) std::fprintf(stderr, "flight_put: %s\n", done.ToString().c_str());
  return done.ok() ? 0 : 1;
}
