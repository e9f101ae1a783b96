/// Keys made of whatever values, and text taken for keys: the encoded bytes order as the values do, prefixes stand at the
/// beginning of what they are of, and what is printed can be read again.
///
/// The first byte picks the key's columns; the rest is cut into values at bytes 0x1F.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <arrow/array.h>
#include <arrow/array/util.h>
#include <arrow/record_batch.h>
#include <arrow/scalar.h>
#include <arrow/type.h>

#include "columns/key_codec.h"
#include "core/check.h"

namespace {

using arrow::field;
using sheaf::columns::KeyCodec;
using Scalars = std::vector<std::shared_ptr<arrow::Scalar>>;

constexpr char kSeparator = '\x1F';

std::shared_ptr<arrow::Schema> Schema() {
  return arrow::schema({field("text", arrow::utf8(), false), field("n", arrow::int64(), false), field("u", arrow::uint16(), false),
                        field("id", arrow::fixed_size_binary(4), false), field("on", arrow::boolean(), false),
                        field("at", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), false), field("day", arrow::date32(), false),
                        field("price", arrow::decimal128(18, 4), false), field("blob", arrow::binary(), false),
                        field("word", arrow::dictionary(arrow::int32(), arrow::utf8()), false)});
}

std::vector<std::shared_ptr<const KeyCodec>> MakeCodecs() {
  std::vector<std::shared_ptr<const KeyCodec>> made;
  for (int c = 0; c < Schema()->num_fields(); ++c) made.push_back(*KeyCodec::Make(Schema(), {c}));
  for (const auto& columns : {std::vector<int>{0, 1}, {9, 2, 3}, {8, 7, 0}, {4, 5, 6, 1}, {3, 0}}) {
    made.push_back(*KeyCodec::Make(Schema(), columns));
  }
  return made;
}

std::vector<std::string> Cut(const std::string& text) {
  std::vector<std::string> out(1);
  for (const char c : text) {
    if (c == kSeparator) {
      out.emplace_back();
    } else {
      out.back() += c;
    }
  }
  return out;
}

std::shared_ptr<arrow::RecordBatch> BatchOf(const KeyCodec& keys, const Scalars& values) {
  arrow::ArrayVector arrays;
  for (const auto& value : values) arrays.push_back(*arrow::MakeArrayFromScalar(*value, 1));
  return arrow::RecordBatch::Make(keys.key_schema(), 1, std::move(arrays));
}

int Sign(int order) { return (order > 0) - (order < 0); }

/// A key that came out of text: back to values, and these to the same key.
Scalars CheckKey(const KeyCodec& keys, const std::string& key) {
  const auto values = keys.Decode(key);
  SHEAF_CHECK(values.ok() && values->size() == keys.columns().size());
  for (const auto& value : *values) SHEAF_CHECK(value->is_valid);
  const auto again = keys.EncodeScalars(*values);
  SHEAF_CHECK(again.ok() && *again == key);
  const auto batch = BatchOf(keys, *values);
  const auto encoded = keys.EncodeKeys(*batch);
  SHEAF_CHECK(encoded.ok() && encoded->bytes == key && keys.Compare(*batch, 0, key) == 0);
  for (size_t n = 0; n <= values->size(); ++n) {
    const auto prefix = keys.EncodePrefix(std::span(*values).first(n));
    SHEAF_CHECK(prefix.ok() && key.starts_with(*prefix));
    SHEAF_CHECK(Sign(keys.Compare(*batch, 0, *prefix)) == Sign(key.compare(*prefix)));
  }
  SHEAF_CHECK(!keys.ToText(key).empty());
  return *values;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto codecs = MakeCodecs();
  if (size == 0) return 0;
  const KeyCodec& keys = *codecs[data[0] % codecs.size()];
  const std::string bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  (void)keys.ToText(bytes);
  const std::vector<std::string> all = Cut(bytes);
  const size_t columns = keys.columns().size();
  const std::span<const std::string> texts(all);
  (void)keys.EncodeText(texts.first(texts.size() % columns));  // The wrong number.
  std::vector<std::string> encoded;
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  for (size_t at = 0; at + columns <= texts.size() && encoded.size() < 8; at += columns) {
    const auto key = keys.EncodeText(texts.subspan(at, columns));
    if (!key.ok()) {
      const sheaf::ErrorKind kind = sheaf::KindOf(key.status());
      SHEAF_CHECK(kind == sheaf::ErrorKind::kInvalid || kind == sheaf::ErrorKind::kTooLarge);
      continue;
    }
    batches.push_back(BatchOf(keys, CheckKey(keys, *key)));
    encoded.push_back(*key);
  }
  // The order of values, which Compare() tells without encoding them, is that of the bytes.
  for (size_t i = 0; i < batches.size(); ++i) {
    for (const std::string& other : encoded) SHEAF_CHECK(Sign(keys.Compare(*batches[i], 0, other)) == Sign(encoded[i].compare(other)));
  }
  return 0;
}
