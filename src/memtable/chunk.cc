#include "memtable/chunk.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include <arrow/array.h>
#include <arrow/type.h>
#include <arrow/util/checked_cast.h>

namespace sheaf::memtable {
namespace {

using arrow::internal::checked_cast;

uint64_t Mix(uint64_t a, uint64_t b) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

uint64_t Load(const char* bytes, size_t length) {
  uint64_t word = 0;
  std::memcpy(&word, bytes, length);
  return word;
}

uint64_t Hash(std::string_view id) {
  constexpr uint64_t kA = 0x9e3779b97f4a7c15, kB = 0xd6e8feb86659fd93;
  uint64_t hash = kA ^ id.size();
  while (id.size() > 8) {
    hash = Mix(hash ^ Load(id.data(), 8), kB);
    id.remove_prefix(8);
  }
  return Mix(hash ^ (id.empty() ? 0 : Load(id.data(), id.size())), kA | 1);
}

/// Calls `visit` with every value that is not NULL of a column of bytes.
template <typename Visit>
void ForEachBytes(const arrow::Array& array, Visit visit) {
  const auto walk = [&](const auto& typed) {
    for (int64_t i = 0; i < typed.length(); ++i) {
      if (typed.IsValid(i)) visit(std::string_view(typed.GetView(i)));
    }
  };
  switch (array.type_id()) {
    case arrow::Type::FIXED_SIZE_BINARY: return walk(checked_cast<const arrow::FixedSizeBinaryArray&>(array));
    case arrow::Type::BINARY:
    case arrow::Type::STRING: return walk(checked_cast<const arrow::BinaryArray&>(array));
    case arrow::Type::LARGE_BINARY:
    case arrow::Type::LARGE_STRING: return walk(checked_cast<const arrow::LargeBinaryArray&>(array));
    default: return;
  }
}

bool HoldsBytes(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::FIXED_SIZE_BINARY:
    case arrow::Type::BINARY:
    case arrow::Type::STRING:
    case arrow::Type::LARGE_BINARY:
    case arrow::Type::LARGE_STRING: return true;
    default: return false;
  }
}

columns::Zone TimeZoneOf(const arrow::Array& array) {
  columns::Zone zone;
  const arrow::Type::type id = array.type_id();
  if (id != arrow::Type::TIMESTAMP && id != arrow::Type::INT64) return zone;
  zone.null_count = array.null_count();
  if (zone.null_count == array.length()) return zone;
  const int64_t* values = array.data()->GetValues<int64_t>(1);
  int64_t low = INT64_MAX, high = INT64_MIN;
  for (int64_t i = 0; i < array.length(); ++i) {
    if (zone.null_count != 0 && array.IsNull(i)) continue;
    low = std::min(low, values[i]);
    high = std::max(high, values[i]);
  }
  zone.kind = columns::Zone::Kind::kInt64;
  zone.int_min = low;
  zone.int_max = high;
  return zone;
}

/// Bounds of the dictionary, which holds every value of the rows and perhaps some more.
columns::Zone DictionaryZoneOf(const arrow::DictionaryArray& array) {
  columns::Zone zone;
  zone.null_count = array.null_count();
  bool first = true;
  std::string_view low, high;
  ForEachBytes(*array.dictionary(), [&](std::string_view value) {
    if (first || value < low) low = value;
    if (first || value > high) high = value;
    first = false;
  });
  if (first) return zone;
  zone.kind = columns::Zone::Kind::kBytes;
  zone.bytes_min = low;
  zone.bytes_max = high;
  return zone;
}

}  // namespace

IdFilter::IdFilter(int64_t ids) : words_(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(1, ids / 6)))) {}

void IdFilter::Add(std::string_view id) {
  const uint64_t hash = Hash(id);
  words_[(hash >> 32) & (words_.size() - 1)] |=
      uint64_t{1} << (hash & 63) | uint64_t{1} << (hash >> 6 & 63) | uint64_t{1} << (hash >> 12 & 63) | uint64_t{1} << (hash >> 18 & 63);
}

bool IdFilter::MayHold(std::string_view id) const {
  const uint64_t hash = Hash(id);
  const uint64_t bits =
      uint64_t{1} << (hash & 63) | uint64_t{1} << (hash >> 6 & 63) | uint64_t{1} << (hash >> 12 & 63) | uint64_t{1} << (hash >> 18 & 63);
  return (words_[(hash >> 32) & (words_.size() - 1)] & bits) == bits;
}

int64_t BufferBytes(const arrow::ArrayData& data) {
  int64_t bytes = 0;
  for (const auto& buffer : data.buffers) bytes += buffer == nullptr ? 0 : buffer->size();
  for (const auto& child : data.child_data) bytes += BufferBytes(*child);
  return data.dictionary == nullptr ? bytes : bytes + BufferBytes(*data.dictionary);
}

bool CanFilter(const arrow::DataType& type) {
  if (type.id() != arrow::Type::DICTIONARY) return HoldsBytes(type);
  return HoldsBytes(*checked_cast<const arrow::DictionaryType&>(type).value_type());
}

Chunk::Chunk(std::shared_ptr<arrow::RecordBatch> batch, int time_column, const std::vector<int>& filter_columns, int64_t bytes)
    : batch_(std::move(batch)), bytes_(bytes) {
  indexes_.reserve(filter_columns.size() + 1);
  if (time_column >= 0) {
    Index& index = indexes_.emplace_back();
    index.column = time_column;
    index.zone = TimeZoneOf(*batch_->column(time_column));
  }
  for (const int column : filter_columns) {
    const arrow::Array& array = *batch_->column(column);
    if (column == time_column || !CanFilter(*array.type())) continue;
    Index& index = indexes_.emplace_back();
    index.column = column;
    if (array.type_id() == arrow::Type::DICTIONARY) {
      index.zone = DictionaryZoneOf(checked_cast<const arrow::DictionaryArray&>(array));
      continue;
    }
    auto filter = std::make_shared<IdFilter>(array.length());
    ForEachBytes(array, [&](std::string_view id) { filter->Add(id); });
    index.filter = std::move(filter);
  }
}

const Chunk::Index* Chunk::Find(int column) const {
  for (const Index& index : indexes_) {
    if (index.column == column) return &index;
  }
  return nullptr;
}

const columns::Zone* Chunk::zone(int column) const {
  const Index* index = Find(column);
  return index == nullptr || index->zone.kind == columns::Zone::Kind::kNone ? nullptr : &index->zone;
}

bool Chunk::MayHold(int column, std::string_view value) const {
  const Index* index = Find(column);
  if (index == nullptr) return true;
  if (index->filter != nullptr && !index->filter->MayHold(value)) return false;
  const arrow::Array* array = batch_->column(column).get();
  if (array->type_id() == arrow::Type::DICTIONARY) {
    array = checked_cast<const arrow::DictionaryArray&>(*array).dictionary().get();
  } else if (index->filter == nullptr) {
    return true;
  }
  bool found = false;
  ForEachBytes(*array, [&](std::string_view held) { found = found || held == value; });
  return found;
}

}  // namespace sheaf::memtable
