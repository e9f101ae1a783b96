#include "parts/sorted_keys.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include <arrow/array/data.h>
#include <arrow/type_traits.h>

namespace sheaf::parts {
namespace {

bool IsIntegerOrTime(const arrow::DataType& type) { return arrow::is_integer(type.id()) || arrow::is_temporal(type.id()); }

/// Values as unsigned numbers that order as they do: what a key holds, big-endian.
template <typename T>
class Ordered {
 public:
  Ordered(const uint8_t* values, bool is_signed) : values_(values), flip_(is_signed ? static_cast<T>(T{1} << (sizeof(T) * 8 - 1)) : T{0}) {}
  T operator[](int64_t i) const {
    T value;
    std::memcpy(&value, values_ + i * static_cast<int64_t>(sizeof(T)), sizeof value);
    return static_cast<T>(value ^ flip_);
  }

  struct Range {
    int64_t low, high;
  };
  /// The rows of the range that equal the first bytes of `key`: where there are none, both are the lower bound.
  Range EqualRange(Range in, std::string_view key) const {
    T wanted = 0;
    for (size_t b = 0; b < sizeof(T); ++b) wanted = static_cast<T>(static_cast<uint64_t>(wanted) << 8 | static_cast<uint8_t>(key[b]));
    int64_t low = in.low;
    for (int64_t count = in.high - in.low; count > 0;) {
      const int64_t half = count / 2;
      const bool below = (*this)[low + half] < wanted;
      low = below ? low + half + 1 : low;
      count = below ? count - half - 1 : half;
    }
    int64_t high = low, step = 1;  // A key's first column often has few rows of one value: look near first.
    while (high < in.high && (*this)[high] == wanted) {
      const int64_t next = std::min(in.high, high + step);
      if ((*this)[next - 1] == wanted) {
        high = next;
        step *= 2;
      } else {
        step = std::max<int64_t>(1, (next - high) / 2);
      }
    }
    return {low, high};
  }

 private:
  const uint8_t* const values_;
  const T flip_;
};

}  // namespace

SortedKeys::SortedKeys(std::shared_ptr<arrow::RecordBatch> keys, const columns::KeyCodec* codec) : keys_(std::move(keys)), codec_(codec) {
  for (int c = 0; c < keys_->num_columns(); ++c) {
    const arrow::ArrayData& data = *keys_->column_data(c);
    if (!IsIntegerOrTime(*data.type) || !data.buffers[1]) break;
    const auto width = static_cast<size_t>(data.type->byte_width());
    const bool is_signed = !arrow::is_unsigned_integer(data.type->id());
    leads_.push_back({data.buffers[1]->data() + data.offset * static_cast<int64_t>(width), width, is_signed});
  }
}

int64_t SortedKeys::LowerBound(std::string_view key) const {
  int64_t low = 0, high = rows();
  std::string_view rest = key;
  bool all = leads_.size() == static_cast<size_t>(keys_->num_columns());
  for (const Lead& lead : leads_) {
    if (rest.size() < lead.width) {
      all = false;
      break;
    }
    const auto narrow = [&]<typename T>(T) {
      const auto range = Ordered<T>(lead.values, lead.is_signed).EqualRange({low, high}, rest);
      low = range.low;
      high = range.high;
    };
    switch (lead.width) {
      case 1: narrow(uint8_t()); break;
      case 2: narrow(uint16_t()); break;
      case 4: narrow(uint32_t()); break;
      default: narrow(uint64_t()); break;
    }
    if (low == high) return low;
    rest.remove_prefix(lead.width);
  }
  if (all) return rest.empty() ? low : high;  // Bytes behind a whole key order after it.
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (codec_->Compare(*keys_, middle, key) < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

int64_t SortedKeys::Find(std::string_view key) const {
  const int64_t row = LowerBound(key);
  return row < rows() && codec_->Compare(*keys_, row, key) == 0 ? row : -1;
}

}  // namespace sheaf::parts
