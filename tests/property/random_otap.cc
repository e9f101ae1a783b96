#include "property/random_otap.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <set>

#include <arrow/api.h>
#include <arrow/io/interfaces.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/compression.h>
#include <arrow/util/key_value_metadata.h>

#include "core/check.h"
#include "wire/protobuf_writer.h"

namespace sheaf::property {
namespace {

namespace otlp = opentelemetry::proto;
using wire::OtapPayload;
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
    auto child = pairs ? arrow::ArrayData::Make(item, items, {nullptr}, {leaf(arrow::float64(), values), leaf(arrow::float64(), seconds)}, 0)
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
  return arrow::ArrayData::Make(type, n, {nulls_buffer, arrow::Buffer::FromString(std::move(offsets)), arrow::Buffer::FromString(std::move(heap))}, nulls);
}

}  // namespace

class OtapPayloadStream {
 public:
  explicit OtapPayloadStream(Random* random) : random_(random) {}

  const std::string& schema_id() const { return schema_id_; }

  /// The record of the next payload; begins anew, under another schema id, where the columns do not fit any more, or at random.
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
    std::shared_ptr<arrow::DataType> index;     // Null: plain.
    std::vector<std::string> values;            // Of the dictionary, in order.
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
      if (column.may_be_dictionary && !random_->OneIn(3)) layout.index = distinct.size() < 200 && random_->OneIn(2) ? arrow::uint8() : arrow::uint16();
      layouts_.push_back(std::move(layout));
    }
    for (size_t i = layouts_.size(); i > 1; --i) std::swap(layouts_[i - 1], layouts_[random_->Below(i)]);
    // Children of a struct stand together.
    std::map<std::string, size_t> places;
    for (size_t i = 0; i < layouts_.size(); ++i) places.emplace(TopOf(layouts_[i].path), i);
    std::stable_sort(layouts_.begin(), layouts_.end(), [&](const Layout& a, const Layout& b) { return places[TopOf(a.path)] < places[TopOf(b.path)]; });
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
  std::vector<std::shared_ptr<arrow::ArrayData>> Nest(const std::vector<std::shared_ptr<arrow::ArrayData>>& arrays, int64_t rows) {
    std::vector<std::shared_ptr<arrow::ArrayData>> out;
    size_t next = 0;
    for (const auto& field : schema_->fields()) {
      if (field->type()->id() != arrow::Type::STRUCT) {
        out.push_back(arrays[next++]);
        continue;
      }
      std::vector<std::shared_ptr<arrow::ArrayData>> children(arrays.begin() + static_cast<ptrdiff_t>(next),
                                                              arrays.begin() + static_cast<ptrdiff_t>(next) + field->type()->num_fields());
      next += children.size();
      std::vector<bool> valid(static_cast<size_t>(rows), !random_->OneIn(2));
      for (int64_t row = 0; row < rows; ++row) {
        for (const auto& child : children) valid[static_cast<size_t>(row)] = valid[static_cast<size_t>(row)] || child->IsValid(row);
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
      indexes.push_back(layout->index->id() == arrow::Type::UINT8 ? Raw(static_cast<uint8_t>(found->second)) : Raw(static_cast<uint16_t>(found->second)));
    }
    auto out = PlainArray(layout->index, indexes);
    // PlainArray's filling of NULLs may be no index of this dictionary; that is what is tested, but Arrow's own check refuses it.
    if (layout->values.empty()) layout->values.push_back(layout->type->id() == arrow::Type::FIXED_SIZE_BINARY || !IsBytes(*layout->type)
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

namespace {

/// A table under way, by rows.
class Table {
 public:
  Cell& At(const std::string& path, const std::shared_ptr<arrow::DataType>& type, bool null_is_default = true, bool may_be_dictionary = true) {
    auto found = std::find_if(columns_.begin(), columns_.end(), [&](const OtapCells& c) { return c.path == path; });
    if (found == columns_.end()) {
      columns_.push_back({.path = path, .type = type, .null_is_default = null_is_default, .may_be_dictionary = may_be_dictionary});
      found = columns_.end() - 1;
    }
    found->cells.resize(rows_);
    return found->cells.back();
  }
  void AddRow() { ++rows_; }
  size_t rows() const { return rows_; }
  OtapCells* Find(const std::string& path) {
    const auto found = std::find_if(columns_.begin(), columns_.end(), [&](const OtapCells& c) { return c.path == path; });
    return found == columns_.end() ? nullptr : &*found;
  }
  std::vector<OtapCells>& columns() {
    for (OtapCells& column : columns_) column.cells.resize(rows_);
    return columns_;
  }
  /// Reorders the rows.
  void Permute(const std::vector<size_t>& order) {
    for (OtapCells& column : columns()) {
      std::vector<Cell> cells;
      for (const size_t row : order) cells.push_back(column.cells[row]);
      column.cells = std::move(cells);
    }
  }

 private:
  std::vector<OtapCells> columns_;
  size_t rows_ = 0;
};

uint32_t IdOf(const Cell& cell) {
  uint32_t id = 0;
  std::memcpy(&id, cell->data(), cell->size());
  return id;
}

/// Builds the tables of one batch.
class Tables {
 public:
  explicit Tables(Random* random) : random_(random) {}

  Table& operator[](OtapPayload type) { return tables_[type]; }

  void Text(Table* table, const std::string& path, const std::string& text) {
    table->At(path, arrow::utf8()) = Replaced(text, kBadText, kBadBytes);
  }
  template <typename T>
  void Number(Table* table, const std::string& path, const std::shared_ptr<arrow::DataType>& type, T value, bool null_is_default = true) {
    table->At(path, type, null_is_default) = Raw(value);
  }
  void Id(Table* table, const std::string& path, const std::string& id, int32_t width) {
    if (static_cast<int32_t>(id.size()) == width) table->At(path, arrow::fixed_size_binary(width)) = id;
  }
  /// Ids stand as such until Encode(); `width` in bytes.
  void Key(Table* table, const std::string& path, uint32_t id, int width) {
    table->At(path, width == 2 ? arrow::uint16() : arrow::uint32(), false, path == "parent_id" && width == 4) =
        width == 2 ? Raw(static_cast<uint16_t>(id)) : Raw(id);
  }

  template <typename KeyValues>
  void Attributes(OtapPayload type, uint32_t parent, int width, const KeyValues& attributes) {
    Table& table = tables_[type];
    for (const auto& attribute : attributes) {
      table.AddRow();
      Key(&table, "parent_id", parent, width);
      Text(&table, "key", attribute.key());
      Value(&table, "", attribute.value());
    }
  }

  /// The columns of an AnyValue, each behind `prefix`.
  void Value(Table* table, const std::string& prefix, const otlp::common::v1::AnyValue& value) {
    const auto type = [&](uint8_t number) { Number(table, prefix + "type", arrow::uint8(), number); };
    switch (value.value_case()) {
      case otlp::common::v1::AnyValue::kStringValue: type(1); Text(table, prefix + "str", value.string_value()); break;
      case otlp::common::v1::AnyValue::kIntValue: type(2); Number(table, prefix + "int", arrow::int64(), value.int_value()); break;
      case otlp::common::v1::AnyValue::kDoubleValue: type(3); Number(table, prefix + "double", arrow::float64(), value.double_value()); break;
      case otlp::common::v1::AnyValue::kBoolValue:
        type(4);
        table->At(prefix + "bool", arrow::boolean(), true, false) = Raw(static_cast<uint8_t>(value.bool_value()));
        break;
      case otlp::common::v1::AnyValue::kKvlistValue: type(5); Ser(table, prefix, value); break;
      case otlp::common::v1::AnyValue::kArrayValue: type(6); Ser(table, prefix, value); break;
      case otlp::common::v1::AnyValue::kBytesValue: type(7); table->At(prefix + "bytes", arrow::binary()) = value.bytes_value(); break;
      default: type(0);
    }
  }

  template <typename ResourcePart, typename ScopePart>
  void Envelope(Table* table, const ResourcePart& resource, const ScopePart& scope, uint32_t resource_id, uint32_t scope_id) {
    Key(table, "resource.id", resource_id, 2);
    Text(table, "resource.schema_url", resource.schema_url());
    Number(table, "resource.dropped_attributes_count", arrow::uint32(), resource.resource().dropped_attributes_count());
    Key(table, "scope.id", scope_id, 2);
    Text(table, "scope.name", scope.scope().name());
    Text(table, "scope.version", scope.scope().version());
    Number(table, "scope.dropped_attributes_count", arrow::uint32(), scope.scope().dropped_attributes_count());
    Text(table, "schema_url", scope.schema_url());
  }

  /// Orders rows and encodes ids in one of the ways that each table allows.
  std::map<OtapPayload, std::vector<OtapCells>> Encode() {
    std::map<OtapPayload, std::vector<OtapCells>> out;
    for (auto& [type, table] : tables_) {
      if (table.rows() == 0) continue;
      table.columns();
      EncodeParents(type, &table);
      for (const char* path : {"id", "resource.id", "scope.id"}) EncodeIds(table.Find(path));
      out[type] = table.columns();
    }
    return out;
  }

 private:
  void Ser(Table* table, const std::string& prefix, const otlp::common::v1::AnyValue& value) {
    std::string cbor;
    Cbor(value, &cbor);
    table->At(prefix + "ser", arrow::binary()) = cbor;
  }
  void CborHead(int major, uint64_t value, std::string* out) {
    const int bytes = value < 24 && !random_->OneIn(5) ? 0 : value < 256 ? 1 : value < 65'536 ? 2 : value >> 32 == 0 ? 4 : 8;
    const int info = bytes == 0 ? static_cast<int>(value) : bytes == 1 ? 24 : bytes == 2 ? 25 : bytes == 4 ? 26 : 27;
    out->push_back(static_cast<char>(major << 5 | info));
    for (int i = bytes - 1; i >= 0; --i) out->push_back(static_cast<char>(value >> (8 * i)));
  }
  void CborString(int major, const std::string& text_to_send, std::string* out) {
    const std::string text = Replaced(text_to_send, kBadText, kBadBytes);
    if (!random_->OneIn(4)) {
      CborHead(major, text.size(), out);
      *out += text;
      return;
    }
    out->push_back(static_cast<char>(major << 5 | 31));
    for (size_t at = 0; at < text.size();) {
      const size_t n = 1 + random_->Below(text.size() - at);
      CborHead(major, n, out);
      *out += text.substr(at, n);
      at += n;
    }
    out->push_back('\xff');
  }
  void Cbor(const otlp::common::v1::AnyValue& value, std::string* out) {
    using AnyValue = otlp::common::v1::AnyValue;
    const bool indefinite = random_->OneIn(2);
    switch (value.value_case()) {
      case AnyValue::kStringValue: return CborString(3, value.string_value(), out);
      case AnyValue::kBytesValue: return CborString(2, value.bytes_value(), out);
      case AnyValue::kBoolValue: return out->push_back(static_cast<char>(value.bool_value() ? 0xf5 : 0xf4));
      case AnyValue::kIntValue: {
        const int64_t n = value.int_value();
        return n >= 0 ? CborHead(0, static_cast<uint64_t>(n), out) : CborHead(1, static_cast<uint64_t>(~n), out);
      }
      case AnyValue::kDoubleValue: {
        const double d = value.double_value();
        const auto f = static_cast<float>(d);
        const bool single = static_cast<double>(f) == d && random_->OneIn(2);
        const uint64_t bits = single ? std::bit_cast<uint32_t>(f) : std::bit_cast<uint64_t>(d);
        out->push_back(static_cast<char>(single ? 0xfa : 0xfb));
        for (int i = single ? 3 : 7; i >= 0; --i) out->push_back(static_cast<char>(bits >> (8 * i)));
        return;
      }
      case AnyValue::kArrayValue: {
        const auto& values = value.array_value().values();
        if (indefinite) out->push_back('\x9f');
        else CborHead(4, static_cast<uint64_t>(values.size()), out);
        for (const auto& item : values) Cbor(item, out);
        break;
      }
      case AnyValue::kKvlistValue: {
        const auto& values = value.kvlist_value().values();
        if (indefinite) out->push_back('\xbf');
        else CborHead(5, static_cast<uint64_t>(values.size()), out);
        for (const auto& item : values) {
          CborString(3, item.key(), out);
          Cbor(item.value(), out);
        }
        break;
      }
      default: return out->push_back(static_cast<char>(random_->OneIn(2) ? 0xf6 : 0xf7));
    }
    if (indefinite) out->push_back('\xff');
  }

  /// What must be equal for a parent id to be a difference; nothing where it never is.
  static Cell EqualityOf(OtapPayload type, Table* table, size_t row) {
    const auto cell = [&](const char* path) {
      OtapCells* column = table->Find(path);
      return column == nullptr ? std::string() : column->cells[row].value_or("");
    };
    if (type == OtapPayload::kSpanEvents) return cell("name");
    if (type == OtapPayload::kSpanLinks) return cell("trace_id").empty() ? std::string(16, '\0') : cell("trace_id");
    if (table->Find("key") == nullptr) return std::nullopt;
    const std::string value_type = cell("type");
    static const char* const kValues[] = {nullptr, "str", "int", "double", "bool", nullptr, nullptr, "bytes"};
    const char* const value = kValues[static_cast<size_t>(value_type[0])];
    if (value == nullptr) return std::nullopt;
    std::string raw = cell(value);
    if (value_type[0] == 3) {
      double number;
      std::memcpy(&number, raw.data(), sizeof(number));
      if (number != number) return std::nullopt;  // NaN equals nothing.
      if (number == 0) raw = std::string(8, '\0');
    }
    return value_type + cell("key") + '\0' + raw;
  }

  void EncodeParents(OtapPayload type, Table* table) {
    OtapCells* parents = table->Find("parent_id");
    if (parents == nullptr) return;
    const bool points = type >= OtapPayload::kNumberPoints && type <= OtapPayload::kExponentialHistogramPoints;
    const bool exemplars = type >= OtapPayload::kNumberExemplars && type <= OtapPayload::kExponentialHistogramExemplars;
    std::vector<Cell> equal(table->rows());
    for (size_t i = 0; i < equal.size(); ++i) equal[i] = EqualityOf(type, table, i);
    std::vector<size_t> order(table->rows());
    std::iota(order.begin(), order.end(), size_t{0});
    uint64_t way = random_->Below(3);
    if (exemplars && way == 2) way = 1;
    if (way == 0) {  // Plain, in any order.
      for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random_->Below(i)]);
      table->Permute(order);
      parents->encoding = "plain";
      return;
    }
    const bool quasi = way == 2 && !points;
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      const auto key = [&](size_t row) { return std::pair(quasi ? equal[row].value_or("") : std::string(), IdOf(parents->cells[row])); };
      return key(a) < key(b);
    });
    table->Permute(order);
    if (!points && !quasi) parents->encoding = "delta";
    if (quasi && random_->OneIn(2)) parents->encoding = "quasidelta";
    std::vector<uint32_t> ids;
    for (const Cell& cell : parents->cells) ids.push_back(IdOf(cell));
    for (size_t i = ids.size(); i-- > 1;) {
      const bool same = !quasi || (equal[order[i]].has_value() && equal[order[i]] == equal[order[i - 1]]);
      if (same) parents->cells[i] = Raw(ids[i] - ids[i - 1]).substr(0, parents->cells[i]->size());
    }
  }

  void EncodeIds(OtapCells* column) {
    if (column == nullptr) return;
    std::vector<uint32_t> ids;
    for (const Cell& cell : column->cells) {
      if (cell) ids.push_back(IdOf(cell));
    }
    if (!std::is_sorted(ids.begin(), ids.end()) || random_->OneIn(3)) {
      column->encoding = "plain";
      return;
    }
    if (random_->OneIn(2)) column->encoding = "delta";
    uint32_t before = 0;
    for (Cell& cell : column->cells) {
      if (!cell) continue;
      const uint32_t id = IdOf(cell);
      cell = Raw(id - before).substr(0, cell->size());
      before = id;
    }
  }

  Random* const random_;
  std::map<OtapPayload, Table> tables_;
};

}  // namespace

RandomOtapSender::RandomOtapSender(Random* random) : random_(random) {}
RandomOtapSender::~RandomOtapSender() = default;

std::string RandomOtapSender::Serialize(const std::map<OtapPayload, std::vector<OtapCells>>& tables) {
  std::string message;
  wire::ProtobufWriter writer(&message);
  writer.Varint(1, static_cast<uint64_t>(batches_++));
  std::vector<OtapPayload> types;
  for (const auto& [type, columns] : tables) types.push_back(type);
  for (size_t i = types.size(); i > 1; --i) std::swap(types[i - 1], types[random_->Below(i)]);
  for (const OtapPayload type : types) {
    auto& stream = streams_[type];
    if (stream == nullptr) stream = std::make_unique<OtapPayloadStream>(random_);
    const std::string record = stream->Write(tables.at(type));
    const size_t payload = writer.Open(2);
    writer.Bytes(1, stream->schema_id());
    writer.Varint(2, static_cast<uint64_t>(type));
    writer.Bytes(3, record);
    writer.Close(payload);
  }
  return message;
}

std::string RandomOtapSender::Traces(const otlp::collector::trace::v1::ExportTraceServiceRequest& request) {
  Tables tables(random_);
  Table& spans = tables[OtapPayload::kSpans];
  Table& events = tables[OtapPayload::kSpanEvents];
  Table& links = tables[OtapPayload::kSpanLinks];
  uint32_t span_id = static_cast<uint32_t>(random_->Below(3)), event_id = span_id, link_id = span_id, resource_id = 0, scope_id = 0;
  for (const auto& resource : request.resource_spans()) {
    bool used = false;
    for (const auto& scope : resource.scope_spans()) {
      for (const auto& span : scope.spans()) {
        used = true;
        spans.AddRow();
        tables.Envelope(&spans, resource, scope, resource_id, scope_id);
        const bool has_children = span.attributes_size() + span.events_size() + span.links_size() > 0;
        if (has_children || random_->OneIn(2)) tables.Key(&spans, "id", span_id, 2);
        tables.Id(&spans, "trace_id", span.trace_id(), 16);
        tables.Id(&spans, "span_id", span.span_id(), 8);
        tables.Id(&spans, "parent_span_id", span.parent_span_id(), 8);
        tables.Text(&spans, "trace_state", span.trace_state());
        tables.Number(&spans, "flags", arrow::uint32(), span.flags());
        tables.Text(&spans, "name", span.name());
        tables.Number(&spans, "kind", arrow::int32(), static_cast<int32_t>(span.kind()));
        tables.Number(&spans, "start_time_unix_nano", arrow::timestamp(arrow::TimeUnit::NANO, "UTC"), span.start_time_unix_nano());
        tables.Number(&spans, "duration_time_unix_nano", arrow::duration(arrow::TimeUnit::NANO), span.end_time_unix_nano() - span.start_time_unix_nano());
        tables.Number(&spans, "dropped_attributes_count", arrow::uint32(), span.dropped_attributes_count());
        tables.Number(&spans, "dropped_events_count", arrow::uint32(), span.dropped_events_count());
        tables.Number(&spans, "dropped_links_count", arrow::uint32(), span.dropped_links_count());
        tables.Number(&spans, "status.code", arrow::int32(), static_cast<int32_t>(span.status().code()));
        tables.Text(&spans, "status.status_message", span.status().message());
        tables.Attributes(OtapPayload::kSpanAttrs, span_id, 2, span.attributes());
        for (const auto& event : span.events()) {
          events.AddRow();
          if (event.attributes_size() > 0 || random_->OneIn(2)) tables.Key(&events, "id", event_id, 4);
          tables.Key(&events, "parent_id", span_id, 2);
          tables.Number(&events, "time_unix_nano", arrow::timestamp(arrow::TimeUnit::NANO, "UTC"), event.time_unix_nano());
          tables.Text(&events, "name", event.name());
          tables.Number(&events, "dropped_attributes_count", arrow::uint32(), event.dropped_attributes_count());
          tables.Attributes(OtapPayload::kSpanEventAttrs, event_id++, 4, event.attributes());
        }
        for (const auto& link : span.links()) {
          links.AddRow();
          if (link.attributes_size() > 0 || random_->OneIn(2)) tables.Key(&links, "id", link_id, 4);
          tables.Key(&links, "parent_id", span_id, 2);
          tables.Id(&links, "trace_id", link.trace_id(), 16);
          tables.Id(&links, "span_id", link.span_id(), 8);
          tables.Text(&links, "trace_state", link.trace_state());
          tables.Number(&links, "flags", arrow::uint32(), link.flags());
          tables.Number(&links, "dropped_attributes_count", arrow::uint32(), link.dropped_attributes_count());
          tables.Attributes(OtapPayload::kSpanLinkAttrs, link_id++, 4, link.attributes());
        }
        ++span_id;
      }
      if (scope.spans_size() > 0) tables.Attributes(OtapPayload::kScopeAttrs, scope_id++, 2, scope.scope().attributes());
    }
    if (used) tables.Attributes(OtapPayload::kResourceAttrs, resource_id++, 2, resource.resource().attributes());
  }
  return Serialize(tables.Encode());
}

std::string RandomOtapSender::Logs(const otlp::collector::logs::v1::ExportLogsServiceRequest& request) {
  Tables tables(random_);
  Table& logs = tables[OtapPayload::kLogs];
  uint32_t log_id = static_cast<uint32_t>(random_->Below(3)), resource_id = 0, scope_id = 0;
  const auto time = arrow::timestamp(arrow::TimeUnit::NANO, "UTC");
  for (const auto& resource : request.resource_logs()) {
    bool used = false;
    for (const auto& scope : resource.scope_logs()) {
      for (const auto& log : scope.log_records()) {
        used = true;
        logs.AddRow();
        tables.Envelope(&logs, resource, scope, resource_id, scope_id);
        if (log.attributes_size() > 0 || random_->OneIn(2)) tables.Key(&logs, "id", log_id, 2);
        tables.Number(&logs, "time_unix_nano", time, log.time_unix_nano());
        tables.Number(&logs, "observed_time_unix_nano", time, log.observed_time_unix_nano());
        tables.Id(&logs, "trace_id", log.trace_id(), 16);
        tables.Id(&logs, "span_id", log.span_id(), 8);
        tables.Number(&logs, "severity_number", arrow::int32(), static_cast<int32_t>(log.severity_number()));
        tables.Text(&logs, "severity_text", log.severity_text());
        tables.Text(&logs, "event_name", log.event_name());
        if (log.has_body()) tables.Value(&logs, "body.", log.body());
        tables.Number(&logs, "dropped_attributes_count", arrow::uint32(), log.dropped_attributes_count());
        tables.Number(&logs, "flags", arrow::uint32(), log.flags());
        tables.Attributes(OtapPayload::kLogAttrs, log_id++, 2, log.attributes());
      }
      if (scope.log_records_size() > 0) tables.Attributes(OtapPayload::kScopeAttrs, scope_id++, 2, scope.scope().attributes());
    }
    if (used) tables.Attributes(OtapPayload::kResourceAttrs, resource_id++, 2, resource.resource().attributes());
  }
  return Serialize(tables.Encode());
}

namespace {

/// Data points of one table, with what belongs to them.
class PointWriter {
 public:
  PointWriter(Tables* tables, Random* random, OtapPayload points, OtapPayload attributes, OtapPayload exemplars, OtapPayload exemplar_attributes)
      : tables_(*tables), random_(random), points_(points), attributes_(attributes), exemplars_(exemplars), exemplar_attributes_(exemplar_attributes) {}

  template <typename Point>
  Table* Begin(const Point& point, uint32_t metric_id) {
    Table* table = &tables_[points_];
    table->AddRow();
    tables_.Key(table, "id", ++id_, 4);
    tables_.Key(table, "parent_id", metric_id, 2);
    tables_.Number(table, "time_unix_nano", time_, point.time_unix_nano());
    tables_.Number(table, "start_time_unix_nano", time_, point.start_time_unix_nano());
    tables_.Number(table, "flags", arrow::uint32(), point.flags());
    tables_.Attributes(attributes_, id_, 4, point.attributes());
    return table;
  }
  template <typename Exemplars>
  void AddExemplars(const Exemplars& exemplars) {
    Table* table = &tables_[exemplars_];
    for (const auto& exemplar : exemplars) {
      table->AddRow();
      tables_.Key(table, "id", ++exemplar_id_, 4);
      tables_.Key(table, "parent_id", id_, 4);
      tables_.Number(table, "time_unix_nano", time_, exemplar.time_unix_nano());
      if (exemplar.has_as_int()) tables_.Number(table, "int_value", arrow::int64(), exemplar.as_int(), false);
      if (exemplar.has_as_double()) tables_.Number(table, "double_value", arrow::float64(), exemplar.as_double(), false);
      tables_.Id(table, "trace_id", exemplar.trace_id(), 16);
      tables_.Id(table, "span_id", exemplar.span_id(), 8);
      tables_.Attributes(exemplar_attributes_, exemplar_id_, 4, exemplar.filtered_attributes());
    }
  }
  template <typename Point>
  void AddBounds(Table* table, const Point& point) {
    tables_.Number(table, "count", arrow::uint64(), point.count());
    if (point.has_sum()) tables_.Number(table, "sum", arrow::float64(), point.sum(), false);
    if (point.has_min()) tables_.Number(table, "min", arrow::float64(), point.min(), false);
    if (point.has_max()) tables_.Number(table, "max", arrow::float64(), point.max(), false);
    AddExemplars(point.exemplars());
  }
  template <typename Numbers>
  static void List(Table* table, const std::string& path, const std::shared_ptr<arrow::DataType>& item, const Numbers& numbers) {
    Cell& cell = table->At(path, arrow::list(item), true, false);
    cell = "";
    for (const auto number : numbers) *cell += Raw(number);
  }

 private:
  Tables& tables_;
  Random* const random_;
  const OtapPayload points_, attributes_, exemplars_, exemplar_attributes_;
  const std::shared_ptr<arrow::DataType> time_ = arrow::timestamp(arrow::TimeUnit::NANO, "UTC");
  uint32_t id_ = 0, exemplar_id_ = 0;
};

}  // namespace

std::string RandomOtapSender::Metrics(const otlp::collector::metrics::v1::ExportMetricsServiceRequest& request) {
  using Metric = otlp::metrics::v1::Metric;
  Tables tables(random_);
  Table& metrics = tables[OtapPayload::kMetrics];
  PointWriter numbers(&tables, random_, OtapPayload::kNumberPoints, OtapPayload::kNumberPointAttrs, OtapPayload::kNumberExemplars,
                      OtapPayload::kNumberExemplarAttrs);
  PointWriter histograms(&tables, random_, OtapPayload::kHistogramPoints, OtapPayload::kHistogramPointAttrs, OtapPayload::kHistogramExemplars,
                         OtapPayload::kHistogramExemplarAttrs);
  PointWriter exponentials(&tables, random_, OtapPayload::kExponentialHistogramPoints, OtapPayload::kExponentialHistogramPointAttrs,
                           OtapPayload::kExponentialHistogramExemplars, OtapPayload::kExponentialHistogramExemplarAttrs);
  PointWriter summaries(&tables, random_, OtapPayload::kSummaryPoints, OtapPayload::kSummaryPointAttrs, {}, {});
  uint32_t metric_id = static_cast<uint32_t>(random_->Below(3)), resource_id = 0, scope_id = 0;

  const auto add_numbers = [&](const auto& points) {
    for (const auto& point : points) {
      Table* table = numbers.Begin(point, metric_id);
      if (point.has_as_int()) tables.Number(table, "int_value", arrow::int64(), point.as_int(), false);
      if (point.has_as_double()) tables.Number(table, "double_value", arrow::float64(), point.as_double(), false);
      numbers.AddExemplars(point.exemplars());
    }
  };
  const auto add_data = [&](const Metric& metric) {
    int type = 0, temporality = 0;
    switch (metric.data_case()) {
      case Metric::kGauge:
        type = 1;
        add_numbers(metric.gauge().data_points());
        break;
      case Metric::kSum:
        type = 2;
        temporality = metric.sum().aggregation_temporality();
        metrics.At("is_monotonic", arrow::boolean(), true, false) = Raw(static_cast<uint8_t>(metric.sum().is_monotonic()));
        add_numbers(metric.sum().data_points());
        break;
      case Metric::kHistogram:
        type = 3;
        temporality = metric.histogram().aggregation_temporality();
        for (const auto& point : metric.histogram().data_points()) {
          Table* table = histograms.Begin(point, metric_id);
          histograms.AddBounds(table, point);
          PointWriter::List(table, "bucket_counts", arrow::uint64(), point.bucket_counts());
          PointWriter::List(table, "explicit_bounds", arrow::float64(), point.explicit_bounds());
        }
        break;
      case Metric::kExponentialHistogram:
        type = 4;
        temporality = metric.exponential_histogram().aggregation_temporality();
        for (const auto& point : metric.exponential_histogram().data_points()) {
          Table* table = exponentials.Begin(point, metric_id);
          exponentials.AddBounds(table, point);
          tables.Number(table, "scale", arrow::int32(), point.scale());
          tables.Number(table, "zero_count", arrow::uint64(), point.zero_count());
          tables.Number(table, "zero_threshold", arrow::float64(), point.zero_threshold());
          tables.Number(table, "positive.offset", arrow::int32(), point.positive().offset());
          PointWriter::List(table, "positive.bucket_counts", arrow::uint64(), point.positive().bucket_counts());
          tables.Number(table, "negative.offset", arrow::int32(), point.negative().offset());
          PointWriter::List(table, "negative.bucket_counts", arrow::uint64(), point.negative().bucket_counts());
        }
        break;
      case Metric::kSummary:
        type = 5;
        for (const auto& point : metric.summary().data_points()) {
          Table* table = summaries.Begin(point, metric_id);
          tables.Number(table, "count", arrow::uint64(), point.count());
          tables.Number(table, "sum", arrow::float64(), point.sum());
          const auto pair = arrow::struct_({arrow::field("quantile", arrow::float64()), arrow::field("value", arrow::float64())});
          Cell& cell = table->At("quantile", arrow::list(pair), true, false);
          cell = "";
          for (const auto& one : point.quantile_values()) *cell += Raw(one.quantile()) + Raw(one.value());
        }
        break;
      default: break;
    }
    tables.Number(&metrics, "metric_type", arrow::uint8(), static_cast<uint8_t>(type));
    tables.Number(&metrics, "aggregation_temporality", arrow::int32(), temporality);
  };

  for (const auto& resource : request.resource_metrics()) {
    bool used = false;
    for (const auto& scope : resource.scope_metrics()) {
      for (const Metric& metric : scope.metrics()) {
        used = true;
        metrics.AddRow();
        tables.Envelope(&metrics, resource, scope, resource_id, scope_id);
        tables.Key(&metrics, "id", metric_id, 2);
        tables.Text(&metrics, "name", metric.name());
        tables.Text(&metrics, "description", metric.description());
        tables.Text(&metrics, "unit", metric.unit());
        add_data(metric);
        tables.Attributes(OtapPayload::kMetricAttrs, metric_id, 2, metric.metadata());
        ++metric_id;
      }
      if (scope.metrics_size() > 0) tables.Attributes(OtapPayload::kScopeAttrs, scope_id++, 2, scope.scope().attributes());
    }
    if (used) tables.Attributes(OtapPayload::kResourceAttrs, resource_id++, 2, resource.resource().attributes());
  }
  return Serialize(tables.Encode());
}

}  // namespace sheaf::property
