/// Documents of rows from strangers, of whatever bytes: taken or refused, never a crash, never more memory than is allowed for
/// them; what is taken is valid through and through and has the table's columns; of what is refused the errors name lines that are there.
///
/// The first byte picks the form and the table.

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <arrow/record_batch.h>
#include <arrow/type.h>

#include "core/check.h"
#include "core/memory.h"
#include "decode/schemas.h"
#include "query/row_errors.h"
#include "query/row_reader.h"
#include "store/ready_tables.h"

namespace {

using arrow::field;
using sheaf::ErrorKind;
using sheaf::query::Format;

constexpr int64_t kBytesMax = int64_t{64} << 20;

std::vector<std::shared_ptr<arrow::Schema>> Tables() {
  const auto fields = {field("id", arrow::int64(), false), field("name", arrow::utf8()), field("on", arrow::boolean()),
                       field("price", arrow::decimal128(18, 6)), field("at", arrow::timestamp(arrow::TimeUnit::NANO, "UTC")),
                       field("day", arrow::date32()), field("ratio", arrow::float64()), field("blob", arrow::binary()),
                       field("word", arrow::dictionary(arrow::int32(), arrow::utf8())), field("hash", arrow::fixed_size_binary(4)),
                       field("tags", arrow::list(arrow::utf8())), field("small", arrow::int8())};
  return {arrow::schema(fields), sheaf::store::FindReadyTable("trading", "orders")->schema,
          sheaf::decode::SignalSchema(sheaf::decode::Signal::kTraces)};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto tables = Tables();
  constexpr std::array kFormats = {Format::kArrow, Format::kParquet, Format::kCsv, Format::kNdjson};
  if (size == 0) return 0;
  const auto& schema = tables[data[0] / kFormats.size() % tables.size()];
  const auto bytes = std::make_shared<arrow::Buffer>(data + 1, static_cast<int64_t>(size - 1));
  sheaf::TrackingPool pool("rows", kBytesMax, &sheaf::NamedPool("ingest"));
  const auto read = sheaf::query::ReadRows(kFormats[data[0] % kFormats.size()], bytes, schema, &pool);
  SHEAF_CHECK(pool.max_memory() <= kBytesMax);
  if (!read.ok()) {
    const ErrorKind kind = sheaf::KindOf(read.status());
    SHEAF_CHECK(kind == ErrorKind::kInvalid || kind == ErrorKind::kTooLarge || kind == ErrorKind::kUnsupported);
    const auto wrong = sheaf::query::FindRowErrors(kFormats[data[0] % kFormats.size()], bytes, schema, &pool);
    const auto lines = std::count(data + 1, data + size, '\n') + 1;
    SHEAF_CHECK(wrong.first.size() <= sheaf::query::kRowErrorsToldMax && wrong.rows_wrong <= sheaf::query::kRowsWrongMax);
    for (const auto& each : wrong.first) SHEAF_CHECK(each.line >= 1 && each.line <= lines && !each.message.empty());
    SHEAF_CHECK(pool.max_memory() <= kBytesMax);
    return 0;
  }
  for (const auto& batch : *read) {
    SHEAF_CHECK(batch->num_rows() > 0 && batch->schema()->Equals(*schema));
    SHEAF_CHECK(batch->ValidateFull().ok());
  }
  return 0;
}
