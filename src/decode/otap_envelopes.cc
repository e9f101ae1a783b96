#include "decode/otap_envelopes.h"

#include <algorithm>

#include "decode/utf8.h"
#include "wire/protobuf_writer.h"

namespace sheaf::decode {
namespace {

/// What the columns of a root table say about a row's resource or scope, beside its attributes.
struct HolderColumns {
  const uint32_t* ids;
  const uint8_t* present;
  const uint32_t* dropped;
  const int32_t *schema_url, *name, *version;  // Numbers of texts.

  bool Same(int64_t a, int64_t b) const {
    return present[a] == present[b] && dropped[a] == dropped[b] && schema_url[a] == schema_url[b] && name[a] == name[b] &&
           version[a] == version[b];
  }
};

/// Gives rows the number of their envelope, which make(row, parent) makes where no row of the same id has said the same before;
/// `parent` is the id's place in `index`, negative without an id.
template <typename Make>
void NumberEnvelopes(const HolderColumns& holders, int64_t rows, const IdIndex& index, int64_t distinct, OtapColumns* columns, int32_t* out,
                     Make&& make) {
  auto* row_of = columns->Scratch<int32_t>(distinct + 1);  // The last row of an id for which an envelope was made; last: of none.
  std::fill(row_of, row_of + distinct + 1, -1);
  for (int64_t i = 0; i < rows; ++i) {
    if (i > 0 && holders.ids[i] == holders.ids[i - 1] && holders.Same(i, i - 1)) {
      out[i] = out[i - 1];
      continue;
    }
    const int32_t parent = holders.ids[i] == kNoId ? -1 : index.Find(holders.ids[i]);
    int32_t& known = row_of[parent < 0 ? distinct : parent];
    if (known >= 0 && holders.Same(i, known)) {
      out[i] = out[known];
      continue;
    }
    known = static_cast<int32_t>(i);
    out[i] = make(i, parent);
  }
}

}  // namespace

Status OtapEnvelopes::Read(const OtapTables& tables, const Limits& limits, OtapColumns* columns) {
  columns_ = columns;
  SHEAF_RETURN_NOT_OK(ReadResources(tables, limits));
  return ReadScopes(tables, limits);
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
  const RowOrder rows{nullptr, root.rows};
  auto* ids = columns_->Scratch<uint32_t>(root.rows);
  Status status = DecodeIds(root.Find(OtapField::kResourceId), root.rows, ids);
  if (!status.ok()) return WithContext(status, "resource.id");
  Distinct distinct;
  SHEAF_RETURN_NOT_OK(FindDistinct(ids, root.rows, &distinct));
  const OtapTable* attributes = tables.Get(wire::OtapPayload::kResourceAttrs);
  SHEAF_RETURN_NOT_OK(resource_attributes_.Read(attributes == nullptr ? no_attributes_ : *attributes, distinct.index, limits, columns_));

  auto* present = columns_->Scratch<uint8_t>(root.rows);
  auto* dropped = columns_->Scratch<uint32_t>(root.rows);
  auto* schema_url = columns_->Scratch<int32_t>(root.rows);
  Dictionary* texts = columns_->buffers()->NextDictionary();
  ReadPresence(root.Find(OtapField::kResource), rows, present);
  ReadNumbers<uint32_t>(root.Find(OtapField::kResourceDropped), rows, dropped);
  columns_->NumberTexts(root.Find(OtapField::kResourceSchemaUrl), rows, texts, schema_url);
  const HolderColumns holders{ids, present, dropped, schema_url, schema_url, schema_url};

  resource_ = columns_->buffers()->NextDictionary();
  service_ = columns_->buffers()->NextDictionary();
  resource_of_ = columns_->Scratch<int32_t>(root.rows);
  service_of_ = columns_->Scratch<int32_t>(root.rows);
  auto* service_of_resource = columns_->Scratch<int32_t>(root.rows + 1);
  NumberEnvelopes(holders, root.rows, distinct.index, distinct.size, columns_, resource_of_, [&](int64_t row, int32_t parent) {
    envelope_.clear();
    service_name_.clear();
    wire::ProtobufWriter writer(&envelope_);
    if (present[row] != 0) {
      const size_t resource = writer.Open(1);
      if (parent >= 0) resource_attributes_.AppendKeyValues(1, parent, &envelope_);
      if (dropped[row] != 0) writer.Varint(2, dropped[row]);
      writer.Close(resource);
    }
    if (const std::string_view url = texts->value(schema_url[row]); !url.empty()) writer.Bytes(3, url);
    if (parent >= 0) resource_attributes_.FindText("service.name", parent, &service_name_);
    if (!IsUtf8(service_name_)) {
      const std::string raw = service_name_;
      RepairUtf8(raw, &service_name_);
    }
    const int32_t number = resource_->Id(envelope_);
    service_of_resource[number] = service_->Id(service_name_);
    return number;
  });
  for (int64_t i = 0; i < root.rows; ++i) service_of_[i] = service_of_resource[resource_of_[i]];
  return Status::OK();
}

Status OtapEnvelopes::ReadScopes(const OtapTables& tables, const Limits& limits) {
  const OtapTable& root = *tables.root;
  const RowOrder rows{nullptr, root.rows};
  auto* ids = columns_->Scratch<uint32_t>(root.rows);
  Status status = DecodeIds(root.Find(OtapField::kScopeId), root.rows, ids);
  if (!status.ok()) return WithContext(status, "scope.id");
  Distinct distinct;
  SHEAF_RETURN_NOT_OK(FindDistinct(ids, root.rows, &distinct));
  const OtapTable* attributes = tables.Get(wire::OtapPayload::kScopeAttrs);
  SHEAF_RETURN_NOT_OK(scope_attributes_.Read(attributes == nullptr ? no_attributes_ : *attributes, distinct.index, limits, columns_));

  auto* present = columns_->Scratch<uint8_t>(root.rows);
  auto* dropped = columns_->Scratch<uint32_t>(root.rows);
  Dictionary* texts = columns_->buffers()->NextDictionary();
  ReadPresence(root.Find(OtapField::kScope), rows, present);
  ReadNumbers<uint32_t>(root.Find(OtapField::kScopeDropped), rows, dropped);
  const auto number_texts = [&](OtapField field) {
    auto* numbers = columns_->Scratch<int32_t>(root.rows);
    columns_->NumberTexts(root.Find(field), rows, texts, numbers);
    return numbers;
  };
  const int32_t* schema_url = number_texts(OtapField::kSchemaUrl);
  const int32_t* name = number_texts(OtapField::kScopeName);
  const int32_t* version = number_texts(OtapField::kScopeVersion);
  const HolderColumns holders{ids, present, dropped, schema_url, name, version};

  scope_ = columns_->buffers()->NextDictionary();
  scope_of_ = columns_->Scratch<int32_t>(root.rows);
  NumberEnvelopes(holders, root.rows, distinct.index, distinct.size, columns_, scope_of_, [&](int64_t row, int32_t parent) {
    envelope_.clear();
    wire::ProtobufWriter writer(&envelope_);
    const auto text = [&](uint32_t field, int32_t number) {
      if (const std::string_view value = texts->value(number); !value.empty()) writer.Bytes(field, value);
    };
    if (present[row] != 0) {
      const size_t scope = writer.Open(1);
      text(1, name[row]);
      text(2, version[row]);
      if (parent >= 0) scope_attributes_.AppendKeyValues(3, parent, &envelope_);
      if (dropped[row] != 0) writer.Varint(4, dropped[row]);
      writer.Close(scope);
    }
    text(3, schema_url[row]);
    return scope_->Id(envelope_);
  });
  return Status::OK();
}

ArrayDataPtr OtapEnvelopes::Column(const TypePtr& type, const Dictionary* values, const int32_t* value_of, const RowOrder& root_rows) {
  ColumnBuffer* numbers = columns_->buffers()->Next(root_rows.size * 4, false);
  auto* out = reinterpret_cast<int32_t*>(numbers->data());
  for (int64_t i = 0; i < root_rows.size; ++i) out[i] = value_of[root_rows[i]];
  return values->MakeColumn(type, root_rows.size, numbers->View(root_rows.size * 4));
}

}  // namespace sheaf::decode
