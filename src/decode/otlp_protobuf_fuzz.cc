/// Fuzzes the decoder with requests of all three kinds: no crash, valid batches, and what is encoded from a
/// batch decodes to an equal batch. The first byte picks the kind.

#include <span>

#include <arrow/record_batch.h>

#include "core/check.h"
#include "decode/decoder.h"
#include "decode/encoder.h"

namespace sheaf::decode {
namespace {

Result<DecodeResult> Decode(Decoder* decoder, int kind, std::span<const std::byte> request) {
  if (kind == 0) return decoder->Traces(request);
  return kind == 1 ? decoder->Logs(request) : decoder->Metrics(request);
}

void CheckRoundTrip(int kind, const TableBatch& table) {
  SHEAF_CHECK(table.batch->num_rows() > 0);
  SHEAF_CHECK(table.batch->ValidateFull().ok());
  std::string encoded;
  SHEAF_CHECK(EncodeRequest(table.signal, *table.batch, &encoded).ok());
  Decoder decoder;
  const auto again = Decode(&decoder, kind, std::as_bytes(std::span(encoded)));
  SHEAF_CHECK(again.ok());
  SHEAF_CHECK(again->rejected == 0 && again->batches.size() == 1);
  const TableBatch& back = again->batches[0];
  SHEAF_CHECK(back.signal == table.signal);
  // NaN is equal to itself here: its bits came back.
  SHEAF_CHECK(back.batch->num_rows() == table.batch->num_rows());
  std::string encoded_again;
  SHEAF_CHECK(EncodeRequest(back.signal, *back.batch, &encoded_again).ok());
  SHEAF_CHECK(encoded_again == encoded);
}

}  // namespace
}  // namespace sheaf::decode

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sheaf::decode;
  if (size == 0) return 0;
  static Decoder decoder;  // One for all inputs: nothing may leak from one to the next.
  const int kind = data[0] % 3;
  const auto result = Decode(&decoder, kind, std::as_bytes(std::span(data + 1, size - 1)));
  if (!result.ok()) {
    const sheaf::ErrorKind kind_of_error = sheaf::KindOf(result.status());
    SHEAF_CHECK(kind_of_error == sheaf::ErrorKind::kInvalid || kind_of_error == sheaf::ErrorKind::kTooLarge);
    return 0;
  }
  for (const TableBatch& table : result->batches) CheckRoundTrip(kind, table);
  return 0;
}
