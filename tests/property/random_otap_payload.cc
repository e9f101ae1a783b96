#include "property/random_otap_payload.h"

#include <algorithm>
#include <map>
#include <set>

#include <arrow/api.h>
#include <arrow/io/interfaces.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/compression.h>
#include <arrow/util/key_value_metadata.h>

#include "core/check.h"

namespace sheaf::property {
namespace {

using Cell = std::optional<std::string>;

template <typename T>
std::string Raw(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}

/// Bytes written since the last Take().
class Sink final : public arrow::io::OutputStream {
 public:
  arrow::Status Write(const void* data, int64_t n) override {
    bytes_.append(static_cast<const char*>(data), static_cast<size_t>(n));
    position_ += n;
    return arrow::Status::OK();
  }
  arrow::Result<int64_t> Tell() const override { return position_; }
  arrow::Status Close() override { return arrow::Status::OK(); }
  bool closed() const override { return false; }
  std::string Take() { return std::exchange(bytes_, {}); }

 private:
  std::string bytes_;
  int64_t position_ = 0;
};

bool IsBytes(const arrow::DataType& type) { return type.id() == arrow::Type::STRING || type.id() == arrow::Type::BINARY; }

bool IsDefault(const arrow::DataType& type, const std::string& raw) {
  if (IsBytes(type) || type.id() == arrow::Type::LIST) return raw.empty();
  return std::all_of(raw.begin(), raw.end(), [](char c) { return c == 0; });
}

std::shared_ptr<arrow::Buffer> Bits(const std::vector<bool>& bits) {
  std::string packed((bits.size() + 7) / 8 + 8, '\0');
  for (size_t i = 0; i < bits.size(); ++i) packed[i / 8] = static_cast<char>(packed[i / 8] | (bits[i] ? 1 << (i % 8) : 0));
  return arrow::Buffer::FromString(std::move(packed));
}

/// A plain array of raw cells.
std::shared_ptr<arrow::ArrayData> PlainArray(const std::shared_ptr<arrow::DataType>& type, const std::vector<Cell>& cells) {
  std::vector<bool> valid;
  for (const Cell& cell : cells) valid.push_back(cell.has_value());
  const auto n = static_cast<int64_t>(cells.size());
  const int64_t nulls = std::count(valid.begin(), valid.end(), false);
  const auto nulls_buffer = nulls == 0 ? nullptr : Bits(valid);
  if (type->id() == arrow::Type::BOOL) {
    std::vector<bool> bits;
    for (const Cell& cell : cells) bits.push_back(cell && (*cell)[0] != 0);
    return arrow::ArrayData::Make(type, n, {nulls_buffer, Bits(bits)}, nulls);
  }
  if (type->id() == arrow::Type::LIST) {
    const auto& item = type->field(0)->type();
    const bool pairs = item->id() == arrow::Type::STRUCT;
    std::string offsets = Raw<int32_t>(0), values, seconds;
    int32_t items = 0;
    for (const Cell& cell : cells) {
      const std::string raw = cell.value_or("");
      for (size_t at = 0; at < raw.size(); at += pairs ? 16 : 8, ++items) {
        values += raw.substr(at, 8);
        if (pairs) seconds += raw.substr(at + 8, 8);
      }
      offsets += Raw(items);
    }
    const auto leaf = [&](const std::shared_ptr<arrow::DataType>& of, std::string bytes) {
      return arrow::ArrayData::Make(of, items, {nullptr, arrow::Buffer::FromString(std::move(bytes))}, 0);
    };
    auto child = pairs ? arrow::ArrayData::Make(item, items, {nullptr},
                                                {leaf(arrow::float64(), values), leaf(arrow::float64(), seconds)}, 0)
                       : leaf(item, values);
    return arrow::ArrayData::Make(type, n, {nulls_buffer, arrow::Buffer::FromString(std::move(offsets))}, {child}, nulls);
  }
  std::string offsets = Raw<int32_t>(0), heap;
  const auto width = IsBytes(*type) ? 0 : static_cast<size_t>(static_cast<const arrow::FixedWidthType&>(*type).bit_width() / 8);
  for (const Cell& cell : cells) {
    heap += cell.value_or(std::string(width, '\x5a'));  // What stands under a NULL must not matter.
    offsets += Raw(static_cast<int32_t>(heap.size()));
  }
  if (!IsBytes(*type)) return arrow::ArrayData::Make(type, n, {nulls_buffer, arrow::Buffer::FromString(std::move(heap))}, nulls);
  return arrow::ArrayData::Make(
      type, n, {nulls_buffer, arrow::Buffer::FromString(std::move(offsets)), arrow::Buffer::FromString(std::move(heap))}, nulls);
}

}  // namespace

class OtapPayloadStream::Impl {
 public:
  explicit Impl(Random* random) : random_(random) {}

  const std::string& schema_id() const { return schema_id_; }

  std::string Write(std::vector<OtapCells> columns) {
    for (OtapCells& column : columns) Thin(&column);
    std::erase_if(columns, [&](const OtapCells& column) { return !Wanted(column); });
    if (writer_ == nullptr || random_->OneIn(4) || !Fits(columns)) Reset(columns);
    std::vector<std::shared_ptr<arrow::ArrayData>> arrays;
    const size_t rows = columns.at(0).cells.size();
    for (Layout& layout : layouts_) {
      const auto found = std::find_if(columns.begin(), columns.end(), [&](const OtapCells& c) { return c.path == layout.path; });
      const std::vector<Cell> none(rows);
      arrays.push_back(MakeArray(&layout, found == columns.end() ? none : found->cells));
    }
    const auto batch = arrow::RecordBatch::Make(schema_, static_cast<int64_t>(rows), Nest(arrays, static_cast<int64_t>(rows)));
    SHEAF_CHECK(batch->Validate().ok());
    SHEAF_CHECK(writer_->WriteRecordBatch(*batch).ok());
    return sink_->Take();
  }

 private:
  /// How one column is sent until the next schema.
  struct Layout {
    std::string path, encoding;
    std::shared_ptr<arrow::DataType> type;
    std::shared_ptr<arrow::DataType> index;  // Null: plain.
    std::vector<std::string> values;         // Of the dictionary, in order.
    std::map<std::string, int64_t> numbers;
  };

  void Thin(OtapCells* column) {
    for (Cell& cell : column->cells) {
      if (cell && column->null_is_default && IsDefault(*column->type, *cell) && random_->OneIn(2)) cell.reset();
    }
  }
  bool Wanted(const OtapCells& column) {
    const bool any = std::any_of(column.cells.begin(), column.cells.end(), [](const Cell& cell) { return cell.has_value(); });
    return any || column.path == "parent_id" || random_->OneIn(5);
  }

  bool Fits(const std::vector<OtapCells>& columns) {
    for (const OtapCells& column : columns) {
      const auto layout = std::find_if(layouts_.begin(), layouts_.end(), [&](const Layout& l) { return l.path == column.path; });
      if (layout == layouts_.end() || layout->encoding != column.encoding) return false;
      if (layout->index == nullptr) continue;
      std::set<std::string> all(layout->values.begin(), layout->values.end());
      for (const Cell& cell : column.cells) all.insert(cell.value_or(""));
      if (all.size() > IndexMax(*layout->index)) return false;
    }
    return true;
  }
  static size_t IndexMax(const arrow::DataType& index) { return index.id() == arrow::Type::UINT8 ? 255 : 65'535; }

  void Reset(const std::vector<OtapCells>& columns) {
    schema_id_ = "schema " + std::to_string(resets_++);
    layouts_.clear();
    for (const OtapCells& column : columns) {
      Layout layout{column.path, column.encoding, column.type, nullptr, {}, {}};
      const std::set<Cell> distinct(column.cells.begin(), column.cells.end());
      if (column.may_be_dictionary && !random_->OneIn(3))
        layout.index = distinct.size() < 200 && random_->OneIn(2) ? arrow::uint8() : arrow::uint16();
      layouts_.push_back(std::move(layout));
    }
    for (size_t i = layouts_.size(); i > 1; --i) std::swap(layouts_[i - 1], layouts_[random_->Below(i)]);
    // Children of a struct stand together.
    std::map<std::string, size_t> places;
    for (size_t i = 0; i < layouts_.size(); ++i) places.emplace(TopOf(layouts_[i].path), i);
    std::stable_sort(layouts_.begin(), layouts_.end(),
                     [&](const Layout& a, const Layout& b) { return places[TopOf(a.path)] < places[TopOf(b.path)]; });
    MakeSchema();
    auto options = arrow::ipc::IpcWriteOptions::Defaults();
    options.emit_dictionary_deltas = true;
    const uint64_t codec = random_->Below(3);
    if (codec == 1) options.codec = arrow::util::Codec::Create(arrow::Compression::ZSTD).ValueOrDie();
    if (codec == 2) options.codec = arrow::util::Codec::Create(arrow::Compression::LZ4_FRAME).ValueOrDie();
    sink_ = std::make_shared<Sink>();
    writer_ = arrow::ipc::MakeStreamWriter(sink_, schema_, options).ValueOrDie();
  }

  static std::string TopOf(const std::string& path) { return path.substr(0, path.find('.')); }

  std::shared_ptr<arrow::Field> MakeField(const Layout& layout, const std::string& name) {
    const auto type = layout.index == nullptr ? layout.type : arrow::dictionary(layout.index, layout.type);
    const auto metadata = layout.encoding.empty() ? nullptr : arrow::key_value_metadata({"encoding"}, {layout.encoding});
    return arrow::field(name, type, true, metadata);
  }

  void MakeSchema() {
    arrow::FieldVector fields, children;
    for (size_t i = 0; i < layouts_.size(); ++i) {
      const std::string& path = layouts_[i].path;
      const size_t dot = path.find('.');
      if (dot == std::string::npos) {
        fields.push_back(MakeField(layouts_[i], path));
        continue;
      }
      children.push_back(MakeField(layouts_[i], path.substr(dot + 1)));
      const bool last = i + 1 == layouts_.size() || !layouts_[i + 1].path.starts_with(path.substr(0, dot + 1));
      if (last) fields.push_back(arrow::field(path.substr(0, dot), arrow::struct_(std::exchange(children, {}))));
    }
    schema_ = arrow::schema(fields);
  }

  /// Arrays of structs from those of their fields. A struct is NULL where all its fields are, at random.
  std::vector<std::shared_ptr<arrow::ArrayData>> Nest(const std::vector<std::shared_ptr<arrow::ArrayData>>& arrays,
                                                      int64_t rows) {
    std::vector<std::shared_ptr<arrow::ArrayData>> out;
    size_t next = 0;
    for (const auto& field : schema_->fields()) {
      if (field->type()->id() != arrow::Type::STRUCT) {
        out.push_back(arrays[next++]);
        continue;
      }
      std::vector<std::shared_ptr<arrow::ArrayData>> children(
          arrays.begin() + static_cast<ptrdiff_t>(next),
          arrays.begin() + static_cast<ptrdiff_t>(next) + field->type()->num_fields());
      next += children.size();
      std::vector<bool> valid(static_cast<size_t>(rows), !random_->OneIn(2));
      for (int64_t row = 0; row < rows; ++row) {
        for (const auto& child : children)
          valid[static_cast<size_t>(row)] = valid[static_cast<size_t>(row)] || child->IsValid(row);
      }
      const int64_t nulls = std::count(valid.begin(), valid.end(), false);
      out.push_back(arrow::ArrayData::Make(field->type(), rows, {nulls == 0 ? nullptr : Bits(valid)}, children, nulls));
    }
    return out;
  }

  std::shared_ptr<arrow::ArrayData> MakeArray(Layout* layout, const std::vector<Cell>& cells) {
    if (layout->index == nullptr) return PlainArray(layout->type, cells);
    if (random_->OneIn(4)) {  // Another dictionary, in another order: a replacement.
      layout->values.clear();
      layout->numbers.clear();
    }
    std::vector<Cell> indexes;
    for (const Cell& cell : cells) {
      if (!cell) {
        indexes.emplace_back();
        continue;
      }
      const auto [found, is_new] = layout->numbers.emplace(*cell, static_cast<int64_t>(layout->values.size()));
      if (is_new) layout->values.push_back(*cell);
      indexes.push_back(layout->index->id() == arrow::Type::UINT8 ? Raw(static_cast<uint8_t>(found->second))
                                                                  : Raw(static_cast<uint16_t>(found->second)));
    }
    auto out = PlainArray(layout->index, indexes);
    // PlainArray's filling of NULLs may be no index of this dictionary; that is what is tested, but Arrow's own check refuses it.
    if (layout->values.empty())
      layout->values.push_back(
          layout->type->id() == arrow::Type::FIXED_SIZE_BINARY || !IsBytes(*layout->type)
              ? std::string(static_cast<size_t>(static_cast<const arrow::FixedWidthType&>(*layout->type).bit_width() / 8), 'x')
              : "x");
    if (layout->numbers.empty()) layout->numbers.emplace(layout->values[0], 0);
    out->type = arrow::dictionary(layout->index, layout->type);
    out->dictionary = PlainArray(layout->type, std::vector<Cell>(layout->values.begin(), layout->values.end()));
    return out;
  }

  Random* const random_;
  int resets_ = 0;
  std::string schema_id_;
  std::vector<Layout> layouts_;
  std::shared_ptr<arrow::Schema> schema_;
  std::shared_ptr<Sink> sink_;
  std::shared_ptr<arrow::ipc::RecordBatchWriter> writer_;
};

OtapPayloadStream::OtapPayloadStream(Random* random) : impl_(std::make_unique<Impl>(random)) {}
OtapPayloadStream::~OtapPayloadStream() = default;
std::string OtapPayloadStream::Write(std::vector<OtapCells> columns) { return impl_->Write(std::move(columns)); }
const std::string& OtapPayloadStream::schema_id() const { return impl_->schema_id(); }

}  // namespace sheaf::property
