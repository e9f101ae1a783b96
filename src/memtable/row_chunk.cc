#include "memtable/row_chunk.h"

#include <algorithm>
#include <cstring>
#include <new>

#include <arrow/array/data.h>
#include <arrow/array/util.h>
#include <arrow/type.h>
#include <arrow/type_traits.h>
#include <arrow/util/bitmap_ops.h>

#include "core/check.h"

namespace sheaf::memtable {
namespace {

constexpr size_t kAlignment = 64, kPageBytes = 4096;
constexpr uint32_t kTouchRows = 512;  // Pages are asked of the system for so many rows at once.

uint32_t LoadEnd(const char* at) {
  uint32_t end;
  std::memcpy(&end, at, sizeof end);
  return end;
}

void Copy(uint8_t* to, const char* from, uint32_t width) {
  switch (width) {
    case 1: std::memcpy(to, from, 1); return;
    case 2: std::memcpy(to, from, 2); return;
    case 4: std::memcpy(to, from, 4); return;
    case 8: std::memcpy(to, from, 8); return;
    case 16: std::memcpy(to, from, 16); return;
    default: std::memcpy(to, from, width);
  }
}

std::shared_ptr<arrow::Buffer> Allocate(size_t bytes, arrow::MemoryPool* pool) {
  auto buffer = arrow::AllocateBuffer(static_cast<int64_t>(bytes), pool);
  if (!buffer.ok()) buffer = arrow::AllocateBuffer(static_cast<int64_t>(bytes), arrow::default_memory_pool());
  if (!buffer.ok()) throw std::bad_alloc();
  return std::move(*buffer);
}

/// Writes to each page that lies wholly in [begin, end). Nobody may have written there yet.
void TouchPages(uint8_t* begin, uint8_t* end) {
  const auto first = (reinterpret_cast<uintptr_t>(begin) + kPageBytes - 1) / kPageBytes * kPageBytes;
  for (uintptr_t page = first; page + kPageBytes <= reinterpret_cast<uintptr_t>(end); page += kPageBytes) {
    *reinterpret_cast<volatile uint8_t*>(page) = 0;
  }
}

}  // namespace

RowPlan::RowPlan(std::shared_ptr<arrow::Schema> schema, std::shared_ptr<const columns::RowCodec> codec)
    : schema_(std::move(schema)), codec_(std::move(codec)) {
  for (size_t i = 0; i < codec_->columns().size(); ++i) {
    const columns::RowCodec::Column& from = codec_->columns()[i];
    const arrow::Field& field = *schema_->field(static_cast<int>(i));
    Column& to = columns_.emplace_back();
    to.boolean = from.boolean;
    to.variable = from.variable;
    to.large = arrow::is_large_binary_like(field.type()->storage_id());
    to.nullable = field.nullable();
    to.width = from.variable ? (to.large ? 8 : 4) : from.width;
    to.offset = from.offset;
    texts_ += from.variable ? 1 : 0;
  }
}

void RowPlan::TextBytes(std::string_view row, std::vector<uint32_t>* bytes) const {
  bytes->clear();
  uint32_t begin = 0;
  for (const Column& column : columns_) {
    if (!column.variable) continue;
    const uint32_t end = LoadEnd(row.data() + column.offset);
    bytes->push_back(end - begin);
    begin = end;
  }
}

RowChunk::RowChunk(const RowPlan* plan, uint32_t rows_max, const std::vector<uint64_t>& text_max, arrow::MemoryPool* pool)
    : plan_(plan),
      rows_max_(rows_max),
      bitmap_bytes_(rows_max / 8),
      pool_(pool),
      columns_(plan->columns().size()),
      text_used_(plan->texts()) {
  SHEAF_CHECK(rows_max > 0 && rows_max % 64 == 0 && text_max.size() == plan->texts());
  Lay(text_max, pool);
}

RowChunk::~RowChunk() {
  delete eight_.load(std::memory_order_acquire);
  delete whole_.load(std::memory_order_acquire);
}

void RowChunk::Lay(const std::vector<uint64_t>& text_max, arrow::MemoryPool* pool) {
  // Twice the same walk: first for the room, then for the places.
  for (uint8_t* base = nullptr;;) {
    size_t used = 0;
    const auto take = [&](size_t bytes) {
      uint8_t* place = base == nullptr ? nullptr : base + used;
      used += (bytes + kAlignment - 1) / kAlignment * kAlignment;
      return place;
    };
    size_t text = 0;
    for (size_t i = 0; i < columns_.size(); ++i) {
      const RowPlan::Column& plan = plan_->columns()[i];
      Column& column = columns_[i];
      column.values = take(plan.boolean ? rows_max_ : size_t{plan.width} * (rows_max_ + (plan.variable ? 1 : 0)));
      if (plan.nullable) column.valid = take(rows_max_);
      if (plan.variable) column.text = take(column.text_max = text_max[text++]);
    }
    lsn_steps_ = reinterpret_cast<uint32_t*>(take(size_t{rows_max_} * sizeof(uint32_t)));
    if (base != nullptr) break;
    slab_ = Allocate(used, pool);
    base = slab_->mutable_data();
  }
  for (size_t i = 0; i < columns_.size(); ++i) {
    const RowPlan::Column& plan = plan_->columns()[i];
    if (plan.variable) std::memset(columns_[i].values, 0, plan.width);
  }
}

void RowChunk::TouchAhead(uint32_t row) {
  const uint32_t end = std::min(rows_max_, row + kTouchRows);
  size_t text = 0;
  for (size_t i = 0; i < columns_.size(); ++i) {
    const RowPlan::Column& plan = plan_->columns()[i];
    const Column& column = columns_[i];
    if (!plan.boolean) {
      const uint32_t lead = plan.variable ? 1 : 0;
      TouchPages(column.values + size_t{plan.width} * (row + lead), column.values + size_t{plan.width} * (end + lead));
    } else if (row == 0) {
      TouchPages(column.values, column.values + rows_max_);
    }
    if (row == 0 && plan.nullable) TouchPages(column.valid, column.valid + rows_max_);
    if (!plan.variable) continue;
    const uint64_t used = text_used_[text++];
    TouchPages(column.text + used,
               column.text + std::min(column.text_max, used + column.text_max / rows_max_ * kTouchRows + kPageBytes));
  }
  TouchPages(reinterpret_cast<uint8_t*>(lsn_steps_ + row), reinterpret_cast<uint8_t*>(lsn_steps_ + end));
}

bool RowChunk::Fits(uint64_t lsn, std::string_view row) const {
  const uint32_t rows = rows_.load(std::memory_order_relaxed);
  if (rows == rows_max_ || (rows > 0 && lsn - first_lsn_ > UINT32_MAX)) return false;
  uint32_t begin = 0;
  size_t text = 0;
  for (size_t i = 0; text < text_used_.size(); ++i) {
    const RowPlan::Column& plan = plan_->columns()[i];
    if (!plan.variable) continue;
    const uint32_t end = LoadEnd(row.data() + plan.offset);
    if (text_used_[text++] + (end - begin) > columns_[i].text_max) return false;
    begin = end;
  }
  return true;
}

uint32_t RowChunk::Append(uint64_t lsn, std::string_view row) {
  const uint32_t number = rows_.load(std::memory_order_relaxed);
  if (number % kTouchRows == 0 && rows_max_ >= kTouchRows) TouchAhead(number);
  if (number == 0) first_lsn_ = lsn;
  lsn_steps_[number] = static_cast<uint32_t>(lsn - first_lsn_);
  const uint32_t byte = (number & 7) * bitmap_bytes_ + (number >> 3);
  const auto bit = static_cast<uint8_t>(1u << (number & 7));
  const char* text_begin = row.data() + plan_->codec().min_bytes();
  uint32_t begin = 0;
  size_t text = 0;
  const RowPlan::Column* plan = plan_->columns().data();
  Column* const end_column = columns_.data() + columns_.size();
  int position = 0;
  for (Column* column = columns_.data(); column != end_column; ++column, ++plan, ++position) {
    const char* value = row.data() + plan->offset;
    if (plan->nullable) {
      column->valid[byte] =
          (static_cast<uint8_t>(row[static_cast<size_t>(position >> 3)]) >> (position & 7) & 1) != 0 ? uint8_t{0} : bit;
    }
    if (plan->boolean) {
      column->values[byte] = *value != 0 ? bit : uint8_t{0};
    } else if (!plan->variable) {
      Copy(column->values + size_t{number} * plan->width, value, plan->width);
    } else {
      const uint32_t end = LoadEnd(value);
      uint64_t& used = text_used_[text++];
      std::memcpy(column->text + used, text_begin + begin, end - begin);
      used += end - begin;
      begin = end;
      std::memcpy(column->values + size_t{number + 1} * plan->width, &used,
                  plan->width);  // Little-endian: the lower half, if not large.
    }
  }
  rows_.store(number + 1, std::memory_order_release);
  return number;
}

int64_t RowChunk::RowsThrough(uint64_t through) const {
  const int64_t rows = this->rows();
  if (rows == 0 || first_lsn_ > through) return 0;
  if (lsn(rows - 1) <= through) return rows;
  return std::upper_bound(lsn_steps_, lsn_steps_ + rows, through - first_lsn_) - lsn_steps_;
}

std::shared_ptr<arrow::Buffer> RowChunk::Part(const uint8_t* begin, int64_t bytes) const {
  return arrow::SliceBuffer(slab_, begin - slab_->data(), bytes);
}

std::shared_ptr<arrow::Buffer> RowChunk::MergeBits(const uint8_t* eight, int64_t rows) const {
  const int64_t whole = rows / 8, rest = rows % 8;
  std::shared_ptr<arrow::Buffer> merged = Allocate(static_cast<size_t>(whole + (rest != 0 ? 1 : 0)), pool_);
  uint8_t* to = merged->mutable_data();
  std::memcpy(to, eight, static_cast<size_t>(whole));
  for (int64_t map = 1; map < 8; ++map) {
    const uint8_t* from = eight + map * bitmap_bytes_;
    for (int64_t i = 0; i < whole; ++i) to[i] |= from[i];
  }
  if (rest == 0) return merged;
  to[whole] = 0;
  for (int64_t map = 0; map < rest; ++map) to[whole] |= eight[map * bitmap_bytes_ + whole];  // The bytes behind are the writer's.
  return merged;
}

std::shared_ptr<arrow::ArrayData> RowChunk::ColumnData(size_t number, int64_t rows) const {
  const RowPlan::Column& plan = plan_->columns()[number];
  const Column& column = columns_[number];
  auto data = std::make_shared<arrow::ArrayData>(plan_->schema()->field(static_cast<int>(number))->type(), rows, 0, 0);
  data->buffers.push_back(nullptr);
  if (plan.nullable) {
    auto valid = MergeBits(column.valid, rows);
    data->null_count = rows - arrow::internal::CountSetBits(valid->data(), 0, rows);
    if (data->null_count != 0) data->buffers[0] = std::move(valid);
  }
  if (plan.boolean) {
    data->buffers.push_back(MergeBits(column.values, rows));
  } else {
    data->buffers.push_back(Part(column.values, plan.width * (rows + (plan.variable ? 1 : 0))));
  }
  if (!plan.variable) return data;
  uint64_t end = 0;
  std::memcpy(&end, column.values + static_cast<size_t>(rows) * plan.width, plan.width);
  data->buffers.push_back(Part(column.text, static_cast<int64_t>(end)));
  return data;
}

std::shared_ptr<arrow::RecordBatch> RowChunk::Prefix(int64_t rows) const {
  arrow::ArrayVector arrays;
  for (size_t i = 0; i < columns_.size(); ++i) arrays.push_back(arrow::MakeArray(ColumnData(i, rows)));
  return arrow::RecordBatch::Make(plan_->schema(), rows, std::move(arrays));
}

const std::shared_ptr<arrow::RecordBatch>& RowChunk::Whole() const {
  const auto* whole = whole_.load(std::memory_order_acquire);
  if (whole != nullptr) return *whole;
  SHEAF_CHECK(closed());
  auto made = std::make_unique<const std::shared_ptr<arrow::RecordBatch>>(Prefix(rows()));
  if (whole_.compare_exchange_strong(whole, made.get(), std::memory_order_acq_rel)) return *made.release();
  return *whole;  // Another reader was faster.
}

const RowChunk::EightBatches* RowChunk::MakeEight() const {
  auto made = std::make_unique<EightBatches>();
  const auto length = static_cast<int64_t>(rows_max_);
  std::array<arrow::ArrayVector, 8> arrays;
  for (size_t i = 0; i < columns_.size(); ++i) {
    const RowPlan::Column& plan = plan_->columns()[i];
    const Column& column = columns_[i];
    std::shared_ptr<arrow::Array> array;
    for (int64_t map = 0; map < 8; ++map) {
      if (array == nullptr || plan.nullable || plan.boolean) {
        const auto& type = plan_->schema()->field(static_cast<int>(i))->type();
        auto data = std::make_shared<arrow::ArrayData>(type, length, plan.nullable ? arrow::kUnknownNullCount : 0, 0);
        data->buffers.push_back(plan.nullable ? Part(column.valid + map * bitmap_bytes_, bitmap_bytes_) : nullptr);
        data->buffers.push_back(plan.boolean ? Part(column.values + map * bitmap_bytes_, bitmap_bytes_)
                                             : Part(column.values, plan.width * (length + (plan.variable ? 1 : 0))));
        if (plan.variable) data->buffers.push_back(Part(column.text, static_cast<int64_t>(column.text_max)));
        array = arrow::MakeArray(std::move(data));
      }
      arrays[static_cast<size_t>(map)].push_back(array);
    }
  }
  for (size_t map = 0; map < 8; ++map) (*made)[map] = arrow::RecordBatch::Make(plan_->schema(), length, std::move(arrays[map]));
  const EightBatches* there = nullptr;
  if (eight_.compare_exchange_strong(there, made.get(), std::memory_order_acq_rel)) return made.release();
  return there;
}

const std::shared_ptr<arrow::RecordBatch>& RowChunk::BatchOf(int64_t row) const {
  if (const auto* whole = whole_.load(std::memory_order_acquire); whole != nullptr) return *whole;
  const EightBatches* eight = eight_.load(std::memory_order_acquire);
  if (eight == nullptr && closed()) return Whole();
  if (eight == nullptr) eight = MakeEight();
  return (*eight)[static_cast<size_t>(row & 7)];
}

}  // namespace sheaf::memtable
