/// Fuzzes OTel-Arrow streams: no crash, valid batches that OTLP can say, and nothing left of earlier streams: a decoder that has
/// seen all inputs so far makes what a new one makes. The first byte picks the signal; then messages, each after its length in
/// four bytes.

#include <cstring>
#include <span>
#include <string>

#include <arrow/record_batch.h>

#include "core/check.h"
#include "decode/encoder.h"
#include "decode/otap_decoder.h"

namespace sheaf::decode {
namespace {

const OtapLimits kLimits{.batch = {.records_max = 100'000, .memory_bytes_base = int64_t{16} << 20}, .stream_bytes_max = 1 << 20};

constexpr const char* kTooLarge = "too large";

/// All rows of a result as OTLP, or the error.
std::string Outcome(const Result<DecodeResult>& result) {
  if (!result.ok()) {
    const ErrorKind kind = KindOf(result.status());
    SHEAF_CHECK(kind == ErrorKind::kInvalid || kind == ErrorKind::kTooLarge || kind == ErrorKind::kUnsupported ||
                kind == ErrorKind::kUnavailable);
    return kind == ErrorKind::kTooLarge ? kTooLarge : result.status().ToString();
  }
  std::string all;
  int64_t rows = 0;
  for (const TableBatch& table : result->batches) {
    SHEAF_CHECK(table.batch->num_rows() > 0);
    SHEAF_CHECK(table.batch->ValidateFull().ok());
    SHEAF_CHECK(EncodeRequest(table.signal, *table.batch, &all).ok());
    rows += table.batch->num_rows();
  }
  SHEAF_CHECK(rows == result->accepted);
  return all;
}

}  // namespace
}  // namespace sheaf::decode

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sheaf::decode;
  if (size == 0) return 0;
  static OtapDecoder used(kLimits);  // One for all inputs.
  OtapDecoder fresh(kLimits);
  const auto signal = static_cast<OtapSignal>(data[0] % 3);
  OtapStream one(signal, kLimits), other(signal, kLimits);
  std::string_view rest(reinterpret_cast<const char*>(data + 1), size - 1);
  while (rest.size() > 4) {
    uint32_t length;
    std::memcpy(&length, rest.data(), 4);
    const std::string message(rest.substr(4, length));  // In memory of its own: what is read beyond it is seen.
    rest.remove_prefix(std::min<size_t>(rest.size(), 4 + size_t{length}));
    sheaf::wire::BatchArrowRecords batch;
    if (!sheaf::wire::ReadBatchArrowRecords(message, &batch).ok()) continue;
    const std::string with_used = Outcome(used.Decode(&one, batch)), with_fresh = Outcome(fresh.Decode(&other, batch));
    // Memory that is there already is not counted against a batch, so one may be taken that a fresh decoder finds too large.
    if (with_fresh != kTooLarge) SHEAF_CHECK(with_used == with_fresh);
    if (one.lost() != other.lost()) break;  // From then on the two streams know different things.
    SHEAF_CHECK(one.held_bytes() == other.held_bytes() && one.held_bytes() <= kLimits.stream_bytes_max);
  }
  return 0;
}
