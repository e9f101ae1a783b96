// Hostile row bytes. Promise: whatever Check() passes becomes a valid batch and comes back as the same bytes, and its key
// decodes to what the row holds.

#include <cstdint>
#include <string>

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include "columns/key_codec.h"
#include "columns/row_codec.h"
#include "core/check.h"

namespace {

using arrow::field;
using sheaf::columns::KeyCodec;
using sheaf::columns::KeyColumn;
using sheaf::columns::RowCodec;

std::shared_ptr<arrow::Schema> Schema() {
  return arrow::schema({field("id", arrow::int64(), false), field("name", arrow::utf8(), false), field("on", arrow::boolean()),
                        field("blob", arrow::large_binary()), field("price", arrow::decimal128(18, 6)),
                        field("day", arrow::date64()), field("at", arrow::time32(arrow::TimeUnit::MILLI)),
                        field("note", arrow::large_utf8()), field("n", arrow::int8())});
}

void ReadAsKey(const KeyCodec& keys, std::string_view bytes) {
  KeyColumn one;
  one.Add(bytes);
  const auto decoded = keys.DecodeKeys(one);
  if (!decoded.ok()) return;
  SHEAF_CHECK((*decoded)->ValidateFull().ok());
  const auto again = keys.EncodeKeys(**decoded);
  SHEAF_CHECK(again.ok() && again->bytes == bytes && keys.Compare(**decoded, 0, bytes) == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto rows = *RowCodec::Make(Schema());
  static const auto keys = *KeyCodec::Make(Schema(), {1, 0});
  const std::string_view row(reinterpret_cast<const char*>(data), size);
  ReadAsKey(*keys, row);
  if (!rows->Check(row).ok()) return 0;
  const auto batch = rows->ToBatch({&row, 1}, arrow::default_memory_pool());
  SHEAF_CHECK(batch.ok() && (*batch)->ValidateFull().ok());
  std::string again, key;
  SHEAF_CHECK(rows->FromBatch(**batch, 0, &again).ok() && again == row);
  if (!keys->EncodeRow(*rows, row, &key).ok()) return 0;
  const auto want = keys->Encode(**batch);
  SHEAF_CHECK(want.ok() && want->bytes == key);
  ReadAsKey(*keys, key);
  return 0;
}
