/// DigestColumns(): column by column, a dictionary's values once a batch.

#include <cstring>
#include <vector>

#include "../must.h"
#include "decode/batch_reader.h"
#include "digest.h"
#include "span_columns.h"

namespace sheaf::bench {
namespace {

using decode::AttributesView;
using decode::BytesView;
using decode::DictionaryView;
using decode::ListView;
using decode::ValueType;

/// Words of ids, NULLs left out.
uint64_t IdsDigest(const arrow::Array& array) {
  const auto& ids = static_cast<const arrow::FixedSizeBinaryArray&>(array);
  const int64_t words_each = ids.byte_width() / 8;
  const uint8_t* bytes = ids.raw_values();
  uint64_t sum = 0;
  for (int64_t i = 0; i < ids.length(); ++i) {
    if (ids.null_count() != 0 && ids.IsNull(i)) continue;
    for (int64_t w = 0; w < words_each; ++w) {
      uint64_t word;
      std::memcpy(&word, bytes + (i * words_each + w) * 8, 8);
      sum += word;
    }
  }
  return sum;
}

uint64_t NumbersDigest(const arrow::Array& array) {
  const auto* values = array.data()->GetValues<uint64_t>(1);
  uint64_t sum = 0;
  for (int64_t i = 0; i < array.length(); ++i) sum += values[i];
  return sum;
}

/// Sums digest(value) over all rows of a dictionary column.
template <typename Digest>
uint64_t DictionaryDigest(const arrow::Array& array, const Digest& digest) {
  const DictionaryView view(array);
  std::vector<uint64_t> of_value(static_cast<size_t>(view.values().length()));
  for (int64_t i = 0; i < view.values().length(); ++i) of_value[static_cast<size_t>(i)] = digest(view.values().GetView(i));
  const auto* ids = static_cast<const arrow::DictionaryArray&>(array).indices()->data()->GetValues<int32_t>(1);
  uint64_t sum = 0;
  for (int64_t i = 0; i < array.length(); ++i) sum += of_value[static_cast<size_t>(ids[i])];
  return sum;
}
uint64_t EnumDigest(const arrow::Array& array, const decode::EnumNames& names) {
  return DictionaryDigest(array, [&](std::string_view name) {
    int32_t number = 0;
    names.Parse(name, &number);
    return static_cast<uint64_t>(number);
  });
}

uint64_t TextsDigest(const arrow::Array& array) {
  const auto& texts = static_cast<const arrow::StringArray&>(array);
  uint64_t sum = 0;
  for (int64_t i = 0; i < texts.length(); ++i) sum += TextDigest(texts.GetView(i));
  return sum;
}

uint64_t AttributesDigest(const arrow::Array& array) {
  const ListView lists(array);
  const auto& items = static_cast<const arrow::StructArray&>(lists.items());
  const auto* types = items.field(1)->data()->GetValues<uint8_t>(1);
  const auto* nums = items.field(2)->data()->GetValues<int64_t>(1);
  const auto& vals = static_cast<const arrow::BinaryArray&>(*items.field(3));
  uint64_t values = 0;
  for (int64_t i = 0; i < items.length(); ++i) {
    values += types[i] == static_cast<uint8_t>(ValueType::kString) ? TextDigest(vals.GetView(i)) : static_cast<uint64_t>(nums[i]);
  }
  return At(Place::kKey, DictionaryDigest(*items.field(0), TextDigest)) + At(Place::kValue, values);
}

}  // namespace

uint64_t DigestColumns(const arrow::RecordBatch& spans) {
  const auto& schema = *spans.schema();
  const auto column = [&](const char* name) { return spans.column(schema.GetFieldIndex(name)); };
  uint64_t sum =
      At(Place::kTraceId, IdsDigest(*column("trace_id"))) + At(Place::kSpanId, IdsDigest(*column("span_id"))) +
      At(Place::kParent, IdsDigest(*column("parent_span_id"))) + At(Place::kName, DictionaryDigest(*column("name"), TextDigest)) +
      At(Place::kKind, EnumDigest(*column("kind"), decode::SpanKindNames())) +
      At(Place::kStart, NumbersDigest(*column("start_time"))) + At(Place::kEnd, NumbersDigest(*column("end_time"))) +
      At(Place::kStatus, EnumDigest(*column("status_code"), decode::StatusCodeNames())) +
      At(Place::kMessage, TextsDigest(*column("status_message"))) +
      At(Place::kService, DictionaryDigest(*column("service_name"), TextDigest)) + AttributesDigest(*column("attributes"));
  const auto events_column = column("events"), links_column = column("links");
  const ListView events(*events_column), links(*links_column);
  sum += At(Place::kEvent, NumbersDigest(events.field(0)) + DictionaryDigest(events.field(1), TextDigest));
  sum += At(Place::kLink, IdsDigest(links.field(0)) + IdsDigest(links.field(1)));
  return sum + AttributesDigest(events.field(2)) + AttributesDigest(links.field(4));
}

}  // namespace sheaf::bench
