#include "decode/otap_envelopes.h"

#include <algorithm>

#include "decode/utf8.h"
#include "wire/protobuf_writer.h"

namespace sheaf::decode {
namespace {

/// What the columns of a root table say about a row's resource or scope, beside its attributes. Null where there is no such
/// column, or where all rows say the same.
struct HolderColumns {
  const uint32_t* ids = nullptr;
  const uint8_t* present = nullptr;
  const uint32_t* dropped = nullptr;
  const int32_t *schema_url = nullptr, *name = nullptr, *version = nullptr;  // Numbers of texts.

  bool Same(int64_t a, int64_t b) const {
    const auto same = [&](const auto* column) { return column == nullptr || column[a] == column[b]; };
    return same(present) && same(dropped) && same(schema_url) && same(name) && same(version);
  }
  /// Whether all rows say the same.
  bool AllSame() const {
    return present == nullptr && dropped == nullptr && schema_url == nullptr && name == nullptr && version == nullptr;
  }
};

const uint8_t* PresenceOf(const OtapColumn* column, int64_t rows, OtapColumns* columns) {
  if (column == nullptr || column->valid == nullptr) return nullptr;
  auto* present = columns->Scratch<uint8_t>(rows);
  ReadPresence(column, {nullptr, rows}, present);
  return present;
}

const uint32_t* DroppedOf(const OtapColumn* column, int64_t rows, OtapColumns* columns) {
  if (column == nullptr) return nullptr;
  auto* dropped = columns->Scratch<uint32_t>(rows);
  ReadNumbers<uint32_t>(column, {nullptr, rows}, dropped);
  return dropped;
}

const int32_t* TextsOf(const OtapColumn* column, int64_t rows, Dictionary* texts, OtapColumns* columns) {
  if (column == nullptr) return nullptr;
  auto* numbers = columns->Scratch<int32_t>(rows);
  columns->NumberTexts(column, {nullptr, rows}, texts, numbers);
  return numbers;
}

/// Text `row` of `numbers`, which may be null.
std::string_view TextOf(const int32_t* numbers, int64_t row, const Dictionary& texts) {
  return numbers == nullptr ? std::string_view() : texts.value(numbers[row]);
}

/// What an envelope takes beside its texts and attributes: a few numbers, tags and lengths.
constexpr size_t kEnvelopeBytes = 128;
constexpr size_t kReplacementBytes = 3;  // U+FFFD, for a byte.

/// Gives rows the number of their envelope, which make(row, parent) makes where no row of the same id has said the same before;
/// `parent` is the id's place in `index`, negative without an id.
template <typename Make>
void NumberEnvelopes(const HolderColumns& holders, int64_t rows, const IdIndex& index, int64_t distinct, OtapColumns* columns,
                     int32_t* out, Make&& make) {
  auto* row_of = columns->Scratch<int32_t>(distinct + 1);  // The last row of an id for which an envelope was made; last: of none.
  std::fill(row_of, row_of + distinct + 1, -1);
  const bool ids_only = holders.AllSame();
  for (int64_t begin = 0, end = 0; begin < rows; begin = end) {  // Runs of rows that say the same.
    const uint32_t id = holders.ids[begin];
    for (end = begin + 1; end < rows && holders.ids[end] == id && (ids_only || holders.Same(begin, end));) ++end;
    const int32_t parent = id == kNoId ? -1 : index.Find(id);
    int32_t& known = row_of[parent < 0 ? distinct : parent];
    int32_t number;
    if (known >= 0 && holders.Same(begin, known)) {
      number = out[known];
    } else {
      known = static_cast<int32_t>(begin);
      number = make(begin, parent);
    }
    std::fill(out + begin, out + end, number);
  }
}

}  // namespace

Status OtapEnvelopes::Read(const OtapTables& tables, const Limits& limits, OtapColumns* columns) {
  columns_ = columns;
  SHEAF_RETURN_NOT_OK(ReadResources(tables, limits));
  return ReadScopes(tables, limits);
}

void OtapEnvelopes::StartEnvelope() {
  envelope_.clear();
  columns_->buffers()->memory()->Reserve(&envelope_, kEnvelopeBytes);
}

void OtapEnvelopes::WriteText(uint32_t field, std::string_view text) {
  if (text.empty()) return;
  columns_->buffers()->memory()->Reserve(&envelope_, text.size() + kEnvelopeBytes);  // And for what is written after it.
  wire::ProtobufWriter(&envelope_).Bytes(field, text);
}

void OtapEnvelopes::AppendAttributes(OtapAttributes* attributes, uint32_t field, int32_t parent) {
  attributes->AppendKeyValues(field, parent, &envelope_);
  columns_->buffers()->memory()->Reserve(&envelope_, kEnvelopeBytes);
}

int32_t OtapEnvelopes::ServiceOf(int32_t parent) {
  service_name_.clear();
  if (parent >= 0) resource_attributes_.FindText("service.name", parent, &service_name_);
  if (IsUtf8(service_name_)) return service_->Id(service_name_);
  const std::string raw = service_name_;
  service_name_.clear();
  columns_->buffers()->memory()->Reserve(&service_name_, raw.size() * kReplacementBytes);
  RepairUtf8(raw, &service_name_);
  return service_->Id(service_name_);
}

Status OtapEnvelopes::FindDistinct(const uint32_t* ids, int64_t rows, Distinct* out) {
  auto* distinct = columns_->Scratch<uint32_t>(rows);
  size_t n = 0;
  bool ascending = true;
  for (int64_t i = 0; i < rows; ++i) {
    if (ids[i] == kNoId || (n > 0 && distinct[n - 1] == ids[i])) continue;
    ascending &= n == 0 || distinct[n - 1] < ids[i];
    distinct[n++] = ids[i];
  }
  if (!ascending) {
    std::sort(distinct, distinct + n);
    n = static_cast<size_t>(std::unique(distinct, distinct + n) - distinct);
  }
  out->size = static_cast<int64_t>(n);
  return out->index.Build({distinct, n}, columns_->buffers());
}

Status OtapEnvelopes::ReadResources(const OtapTables& tables, const Limits& limits) {
  const OtapTable& root = *tables.root;
  auto* ids = columns_->Scratch<uint32_t>(root.rows);
  Status status = DecodeIds(root.Find(OtapField::kResourceId), root.rows, ids);
  if (!status.ok()) return WithContext(status, "resource.id");
  Distinct distinct;
  SHEAF_RETURN_NOT_OK(FindDistinct(ids, root.rows, &distinct));
  const OtapTable* attributes = tables.Get(wire::OtapPayload::kResourceAttrs);
  SHEAF_RETURN_NOT_OK(
      resource_attributes_.Read(attributes == nullptr ? no_attributes_ : *attributes, distinct.index, limits, columns_));

  Dictionary* texts = columns_->buffers()->NextDictionary();
  HolderColumns holders{.ids = ids};
  const OtapColumn* resource_struct = root.Find(OtapField::kResource);
  holders.present = PresenceOf(resource_struct, root.rows, columns_);
  holders.dropped = DroppedOf(root.Find(OtapField::kResourceDropped), root.rows, columns_);
  holders.schema_url = TextsOf(root.Find(OtapField::kResourceSchemaUrl), root.rows, texts, columns_);

  resource_ = columns_->buffers()->NextDictionary();
  service_ = columns_->buffers()->NextDictionary();
  resource_of_ = columns_->Scratch<int32_t>(root.rows);
  service_of_ = columns_->Scratch<int32_t>(root.rows);
  auto* service_of_resource = columns_->Scratch<int32_t>(root.rows + 1);
  // Once an id, however many envelopes it has. Last: of rows without an id.
  auto* service_of_parent = columns_->Scratch<int32_t>(distinct.size + 1);
  std::fill(service_of_parent, service_of_parent + distinct.size + 1, -1);
  NumberEnvelopes(holders, root.rows, distinct.index, distinct.size, columns_, resource_of_, [&](int64_t row, int32_t parent) {
    StartEnvelope();
    wire::ProtobufWriter writer(&envelope_);
    if (resource_struct != nullptr && !resource_struct->IsNull(row)) {
      const size_t resource = writer.Open(1);
      if (parent >= 0) AppendAttributes(&resource_attributes_, 1, parent);
      if (holders.dropped != nullptr && holders.dropped[row] != 0) writer.Varint(2, holders.dropped[row]);
      writer.Close(resource);
    }
    WriteText(3, TextOf(holders.schema_url, row, *texts));
    int32_t& service = service_of_parent[parent < 0 ? distinct.size : parent];
    if (service < 0) service = ServiceOf(parent);
    columns_->Spend(static_cast<int64_t>(envelope_.size()));
    const int32_t number = resource_->Id(envelope_);
    service_of_resource[number] = service;
    return number;
  });
  for (int64_t i = 0; i < root.rows; ++i) service_of_[i] = service_of_resource[resource_of_[i]];
  return Status::OK();
}

Status OtapEnvelopes::ReadScopes(const OtapTables& tables, const Limits& limits) {
  const OtapTable& root = *tables.root;
  auto* ids = columns_->Scratch<uint32_t>(root.rows);
  Status status = DecodeIds(root.Find(OtapField::kScopeId), root.rows, ids);
  if (!status.ok()) return WithContext(status, "scope.id");
  Distinct distinct;
  SHEAF_RETURN_NOT_OK(FindDistinct(ids, root.rows, &distinct));
  const OtapTable* attributes = tables.Get(wire::OtapPayload::kScopeAttrs);
  SHEAF_RETURN_NOT_OK(
      scope_attributes_.Read(attributes == nullptr ? no_attributes_ : *attributes, distinct.index, limits, columns_));

  Dictionary* texts = columns_->buffers()->NextDictionary();
  HolderColumns holders{.ids = ids};
  const OtapColumn* scope_struct = root.Find(OtapField::kScope);
  holders.present = PresenceOf(scope_struct, root.rows, columns_);
  holders.dropped = DroppedOf(root.Find(OtapField::kScopeDropped), root.rows, columns_);
  holders.schema_url = TextsOf(root.Find(OtapField::kSchemaUrl), root.rows, texts, columns_);
  holders.name = TextsOf(root.Find(OtapField::kScopeName), root.rows, texts, columns_);
  holders.version = TextsOf(root.Find(OtapField::kScopeVersion), root.rows, texts, columns_);

  scope_ = columns_->buffers()->NextDictionary();
  scope_of_ = columns_->Scratch<int32_t>(root.rows);
  NumberEnvelopes(holders, root.rows, distinct.index, distinct.size, columns_, scope_of_, [&](int64_t row, int32_t parent) {
    StartEnvelope();
    wire::ProtobufWriter writer(&envelope_);
    if (scope_struct != nullptr && !scope_struct->IsNull(row)) {
      const size_t scope = writer.Open(1);
      WriteText(1, TextOf(holders.name, row, *texts));
      WriteText(2, TextOf(holders.version, row, *texts));
      if (parent >= 0) AppendAttributes(&scope_attributes_, 3, parent);
      if (holders.dropped != nullptr && holders.dropped[row] != 0) writer.Varint(4, holders.dropped[row]);
      writer.Close(scope);
    }
    WriteText(3, TextOf(holders.schema_url, row, *texts));
    columns_->Spend(static_cast<int64_t>(envelope_.size()));
    return scope_->Id(envelope_);
  });
  return Status::OK();
}

ArrayDataPtr OtapEnvelopes::Column(const TypePtr& type, const Dictionary* values, const int32_t* value_of,
                                   const RowOrder& root_rows) {
  ColumnBuffer* numbers = columns_->buffers()->Next(root_rows.size * 4, false);
  auto* out = reinterpret_cast<int32_t*>(numbers->data());
  if (root_rows.rows == nullptr) {
    std::copy(value_of, value_of + root_rows.size, out);
  } else {
    for (int64_t i = 0; i < root_rows.size; ++i) out[i] = value_of[root_rows.rows[i]];
  }
  return values->MakeColumn(type, root_rows.size, numbers->View(root_rows.size * 4));
}

}  // namespace sheaf::decode
