#include "decode/otap_envelope_writer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <optional>
#include <tuple>

#include "decode/utf8.h"
#include "wire/protobuf_reader.h"

namespace sheaf::decode {
namespace {

/// What OTel-Arrow can say of a message: bits of its fields, and which of them are messages.
struct Sayable {
  uint32_t fields;
  struct {
    uint32_t field;
    const Sayable* message;
  } nested[5];
};

constexpr uint32_t Fields(std::initializer_list<uint32_t> numbers) {
  uint32_t bits = 0;
  for (const uint32_t number : numbers) bits |= 1u << number;
  return bits;
}

extern const Sayable kAnyValue;
constexpr Sayable kKeyValue{Fields({1, 2}), {{2, &kAnyValue}}};
constexpr Sayable kArrayValue{Fields({1}), {{1, &kAnyValue}}};
constexpr Sayable kKeyValueList{Fields({1}), {{1, &kKeyValue}}};
constexpr Sayable kAnyValue{Fields({1, 2, 3, 4, 5, 6, 7}), {{5, &kArrayValue}, {6, &kKeyValueList}}};
constexpr Sayable kResource{Fields({1, 2}), {{1, &kKeyValue}}};
constexpr Sayable kResourceEnvelope{Fields({1, 3}), {{1, &kResource}}};
constexpr Sayable kScope{Fields({1, 2, 3, 4}), {{3, &kKeyValue}}};
constexpr Sayable kScopeEnvelope{Fields({1, 3}), {{1, &kScope}}};
constexpr Sayable kPointsOnly{0, {}}, kWithTemporality{Fields({2}), {}}, kSumData{Fields({2, 3}), {}};
constexpr Sayable kMetricEnvelope{
    Fields({1, 2, 3, 5, 7, 9, 10, 11, 12}),
    {{5, &kPointsOnly}, {7, &kSumData}, {9, &kWithTemporality}, {10, &kWithTemporality}, {12, &kKeyValue}}};

/// Deeper is only what is damaged.
constexpr int kDepthMax = 300;

bool IsSayable(const Sayable& message, std::string_view bytes, int depth = 0) {
  wire::ProtobufReader reader(bytes);
  while (depth < kDepthMax && reader.Next()) {
    const uint32_t field = wire::FieldOf(reader.tag());
    if (field >= 32 || (message.fields >> field & 1) == 0) return false;
    const auto nested =
        std::find_if(std::begin(message.nested), std::end(message.nested), [field](const auto& n) { return n.field == field; });
    if (nested == std::end(message.nested) || wire::TypeOf(reader.tag()) != wire::WireType::kBytes) {
      reader.Skip();
    } else if (!IsSayable(*nested->message, reader.Bytes(), depth + 1)) {
      return false;
    }
  }
  return depth < kDepthMax;
}

/// What numbers envelopes of one column, by the dictionary of its batch.
class EnvelopeNumbers {
 public:
  EnvelopeNumbers(const arrow::Array& column, Dictionary* distinct)
      : view_(column), distinct_(distinct), known_(static_cast<size_t>(view_.values().length()), -1) {}
  int64_t id(int64_t row) const { return view_.id(row); }
  int32_t Number(int64_t row) {
    int32_t& number = known_[static_cast<size_t>(view_.id(row))];
    if (number < 0) number = distinct_->Id(view_[row]);
    return number;
  }

 private:
  const DictionaryView view_;
  Dictionary* const distinct_;
  std::vector<int32_t> known_;
};

/// Text of an envelope, which may have to be repaired.
class RepairedText {
 public:
  std::string_view Get(std::string_view text, bool* inexact) {
    if (IsUtf8(text)) return text;
    *inexact = true;
    RepairUtf8(text, &repaired_);
    return repaired_;
  }

 private:
  std::string repaired_;
};

/// The same text in the next `n` rows.
void PutRun(std::string_view text, int64_t n, OtapOutColumn* column) {
  if (!column->dictionary()) {
    for (int64_t i = 0; i < n; ++i) column->Put(text);
    return;
  }
  const int32_t id = column->Id(text);
  for (int64_t i = 0; i < n; ++i) column->PutId(id);
}

}  // namespace

bool MetricIsExact(std::string_view envelope) { return IsSayable(kMetricEnvelope, envelope); }

void OtapEnvelopeWriter::Order(std::span<const TableBatch> tables, bool metrics, RequestMemory* memory,
                               int64_t dictionary_bytes_max) {
  memory_ = memory;
  for (Dictionary* dictionary : {&resources_, &scopes_, &metrics_, &keys_}) dictionary->Start(memory);
  resource_attributes_.Start(memory, dictionary_bytes_max);
  scope_attributes_.Start(memory, dictionary_bytes_max);
  NumberRows(tables, metrics);
  SortGroups();
  SortRows(tables);
}

void OtapEnvelopeWriter::NumberRows(std::span<const TableBatch> tables, bool metrics) {
  groups_.clear();
  group_of_.clear();
  for (size_t t = 0; t < tables.size(); ++t) {
    const arrow::RecordBatch& batch = *tables[t].batch;
    EnvelopeNumbers resources(*batch.GetColumnByName("resource"), &resources_);
    EnvelopeNumbers scopes(*batch.GetColumnByName("scope"), &scopes_);
    std::optional<EnvelopeNumbers> metric;
    if (metrics) metric.emplace(*batch.GetColumnByName("metric"), &metrics_);
    std::array<int64_t, 3> before = {-1, -1, -1};
    int32_t group = 0;
    for (int64_t row = 0; row < batch.num_rows(); ++row) {
      const std::array<int64_t, 3> ids = {resources.id(row), scopes.id(row), metric ? metric->id(row) : 0};
      if (ids != before) {
        before = ids;
        const std::array<int32_t, 4> key = {resources.Number(row), scopes.Number(row), metric ? metric->Number(row) : 0,
                                            metrics ? static_cast<int32_t>(t) : 0};
        bool is_new;
        group = keys_.Id({reinterpret_cast<const char*>(key.data()), sizeof(key)}, &is_new);
        if (is_new) groups_.push_back({.resource = key[0], .scope = key[1], .metric = key[2], .table = key[3], .first_row = row});
      }
      ++groups_[static_cast<size_t>(group)].rows;
      group_of_.push_back(group);
    }
  }
}

void OtapEnvelopeWriter::SortGroups() {
  std::vector<int32_t> order(groups_.size());
  std::iota(order.begin(), order.end(), 0);
  const auto less = [&](int32_t a, int32_t b) {
    const OtapGroup &x = groups_[static_cast<size_t>(a)], &y = groups_[static_cast<size_t>(b)];
    return std::tie(x.resource, x.scope, a) < std::tie(y.resource, y.scope, b);
  };
  if (std::is_sorted(order.begin(), order.end(), less)) return;
  std::sort(order.begin(), order.end(), less);
  std::vector<OtapGroup> sorted;
  std::vector<int32_t> place(groups_.size());
  for (const int32_t group : order) {
    place[static_cast<size_t>(group)] = static_cast<int32_t>(sorted.size());
    sorted.push_back(groups_[static_cast<size_t>(group)]);
  }
  groups_.swap(sorted);
  for (int32_t& group : group_of_) group = place[static_cast<size_t>(group)];
}

void OtapEnvelopeWriter::SortRows(std::span<const TableBatch> tables) {
  rows_.Clear();
  if (std::is_sorted(group_of_.begin(), group_of_.end())) {
    for (size_t t = 0; t < tables.size(); ++t) rows_.Add(static_cast<int32_t>(t), 0, tables[t].batch->num_rows());
    return;
  }
  std::vector<int64_t> next(groups_.size());
  int64_t begin = 0;
  for (size_t group = 0; group < groups_.size(); ++group) {
    next[group] = begin;
    begin += groups_[group].rows;
  }
  struct Place {
    int32_t table;
    int32_t row;
  };
  std::vector<Place> order(group_of_.size());
  size_t at = 0;
  for (size_t t = 0; t < tables.size(); ++t) {
    for (int64_t row = 0; row < tables[t].batch->num_rows(); ++row) {
      order[static_cast<size_t>(next[static_cast<size_t>(group_of_[at++])]++)] = {static_cast<int32_t>(t),
                                                                                  static_cast<int32_t>(row)};
    }
  }
  for (const Place& place : order) rows_.Add(place.table, place.row, 1);
}

Status OtapEnvelopeWriter::AddResource(OtapGroup* group, uint32_t id, ResourceEnvelope* envelope) {
  const std::string_view bytes = resources_.value(group->resource);
  SHEAF_ASSIGN_OR_RETURN(*envelope, ParseResourceEnvelope(bytes));
  bool exact = IsSayable(kResourceEnvelope, bytes);
  for (const Attribute& attribute : envelope->attributes) {
    SHEAF_RETURN_NOT_OK(resource_attributes_.Add(id, attribute, &exact));
  }
  group->inexact |= !exact;
  return Status::OK();
}

Status OtapEnvelopeWriter::AddScope(OtapGroup* group, uint32_t id, ScopeEnvelope* envelope) {
  const std::string_view bytes = scopes_.value(group->scope);
  SHEAF_ASSIGN_OR_RETURN(*envelope, ParseScopeEnvelope(bytes));
  bool exact = IsSayable(kScopeEnvelope, bytes);
  for (const Attribute& attribute : envelope->attributes) {
    SHEAF_RETURN_NOT_OK(scope_attributes_.Add(id, attribute, &exact));
  }
  group->inexact |= !exact;
  return Status::OK();
}

Status OtapEnvelopeWriter::Fill(bool row_each, OtapTableWriter* root) {
  auto* resource_ids = (*root)[OtapField::kResourceId].Values<uint16_t>(true);
  auto* resource_dropped = (*root)[OtapField::kResourceDropped].Values<uint32_t>();
  auto* scope_ids = (*root)[OtapField::kScopeId].Values<uint16_t>(true);
  auto* scope_dropped = (*root)[OtapField::kScopeDropped].Values<uint32_t>();
  ResourceEnvelope resource;
  ScopeEnvelope scope;
  RepairedText repaired;
  uint32_t resource_id = 0, scope_id = 0;
  bool resource_inexact = false, scope_inexact = false;
  int64_t row = 0;
  const OtapGroup* before = nullptr;
  for (OtapGroup& group : groups_) {
    const bool new_resource = before == nullptr || before->resource != group.resource;
    const bool new_scope = new_resource || before->scope != group.scope;
    if (new_resource) {
      // Differences: what is new stands one above what was before.
      resource_ids[row] = before != nullptr;
      resource_id += before != nullptr;
      SHEAF_RETURN_NOT_OK(AddResource(&group, resource_id, &resource));
      resource_inexact = group.inexact;
    }
    if (new_scope) {
      scope_ids[row] = before != nullptr;
      scope_id += before != nullptr;
      group.inexact = false;
      SHEAF_RETURN_NOT_OK(AddScope(&group, scope_id, &scope));
      scope_inexact = group.inexact;
    }
    bool text_inexact = false;
    const int64_t n = row_each ? group.rows : 1;
    const auto put = [&](OtapField field, std::string_view text) {
      PutRun(repaired.Get(text, &text_inexact), n, &(*root)[field]);
    };
    put(OtapField::kResourceSchemaUrl, resource.schema_url);
    put(OtapField::kScopeName, scope.name);
    put(OtapField::kScopeVersion, scope.version);
    put(OtapField::kSchemaUrl, scope.schema_url);
    std::fill(resource_dropped + row, resource_dropped + row + n, resource.dropped_attributes_count);
    std::fill(scope_dropped + row, scope_dropped + row + n, scope.dropped_attributes_count);
    group.inexact = resource_inexact || scope_inexact || text_inexact;
    row += n;
    before = &group;
  }
  resource_attributes_.Fill();
  scope_attributes_.Fill();
  return Status::OK();
}

int64_t OtapEnvelopeWriter::CountInexact(std::span<const TableBatch> tables) const {
  const bool any_group = std::any_of(groups_.begin(), groups_.end(), [](const OtapGroup& group) { return group.inexact; });
  int64_t count = 0;
  size_t at = 0;
  for (const TableBatch& table : tables) {
    const int64_t n = table.batch->num_rows();
    const arrow::Array& original = *table.batch->GetColumnByName("original");
    const bool any_original = original.null_count() < n;
    for (int64_t row = 0; (any_group || any_original) && row < n; ++row) {
      count += groups_[static_cast<size_t>(group_of_[at + static_cast<size_t>(row)])].inexact || original.IsValid(row);
    }
    at += static_cast<size_t>(n);
  }
  return count;
}

int64_t OtapEnvelopeWriter::held_bytes() const {
  return static_cast<int64_t>(groups_.capacity() * sizeof(OtapGroup) + group_of_.capacity() * sizeof(int32_t));
}

void OtapEnvelopeWriter::Trim() {
  for (Dictionary* dictionary : {&resources_, &scopes_, &metrics_, &keys_}) dictionary->Trim(-1);
  std::vector<OtapGroup>().swap(groups_);
  std::vector<int32_t>().swap(group_of_);
}

}  // namespace sheaf::decode
