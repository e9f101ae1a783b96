/// What stands around the records of batches, as OTel-Arrow sends it: rows ordered by resource and scope (and metric), the
/// columns of a root table that tell them, and the tables of their attributes.

#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "decode/attributes.h"
#include "decode/otap_attribute_writer.h"
#include "decode/otap_source.h"

namespace sheaf::decode {

/// The columns of every root table that tell the resource and the scope.
inline constexpr OtapColumnRule kOtapEnvelopeRules[] = {
    {OtapField::kResource, "resource", OtapForm::kStruct, kOtapAlways},
    {OtapField::kResourceId, "id", OtapForm::kU16, kOtapAlways | kOtapChild},
    {OtapField::kResourceSchemaUrl, "schema_url", OtapForm::kText, kOtapDictionary | kOtapChild},
    {OtapField::kResourceDropped, "dropped_attributes_count", OtapForm::kU32, kOtapChild},
    {OtapField::kScope, "scope", OtapForm::kStruct, kOtapAlways},
    {OtapField::kScopeId, "id", OtapForm::kU16, kOtapAlways | kOtapChild},
    {OtapField::kScopeName, "name", OtapForm::kText, kOtapDictionary | kOtapChild},
    {OtapField::kScopeVersion, "version", OtapForm::kText, kOtapDictionary | kOtapChild},
    {OtapField::kScopeDropped, "dropped_attributes_count", OtapForm::kU32, kOtapChild},
    {OtapField::kSchemaUrl, "schema_url", OtapForm::kText, kOtapDictionary},
};

/// The rules of a root table: those, and its own.
template <size_t N>
constexpr std::array<OtapColumnRule, N + std::size(kOtapEnvelopeRules)> OtapRootRules(const OtapColumnRule (&own)[N]) {
  std::array<OtapColumnRule, N + std::size(kOtapEnvelopeRules)> all{};
  std::copy(std::begin(kOtapEnvelopeRules), std::end(kOtapEnvelopeRules), all.begin());
  std::copy(std::begin(own), std::end(own), all.begin() + std::size(kOtapEnvelopeRules));
  return all;
}

/// Rows that have the same resource and scope, and, of data points, the same metric and table.
struct OtapGroup {
  int32_t resource = 0, scope = 0;  // Numbers of distinct envelopes.
  int32_t metric = 0;               // The same; 0 of spans and logs.
  int32_t table = 0;                // The batch they are from, of data points; else 0.
  int64_t rows = 0;
  int64_t first_row = 0;  // In the batch that it is from.
  bool inexact = false;   // OTel-Arrow cannot say everything about what stands around them.
};

/// Not thread-safe.
class OtapEnvelopeWriter {
 public:
  OtapEnvelopeWriter()
      : resource_attributes_(wire::OtapPayload::kResourceAttrs, 2), scope_attributes_(wire::OtapPayload::kScopeAttrs, 2) {}

  /// Groups and orders the rows of all tables. `tables` must stay until the batch is written.
  void Order(std::span<const TableBatch> tables, bool metrics, RequestMemory* memory, int64_t dictionary_bytes_max);
  /// The groups, in order.
  std::span<OtapGroup> groups() { return groups_; }
  /// All rows in their new order: those of the first group, of the second…
  const OtapRuns& rows() const { return rows_; }
  /// The metric's envelope.
  std::string_view metric(const OtapGroup& group) const { return metrics_.value(group.metric); }

  /// Fills the columns of the root table and the attribute tables. The root table has a row for each row, or one for each group.
  /// Errors: Corruption (an envelope is not OTLP).
  Status Fill(bool row_each, OtapTableWriter* root);
  OtapAttributeWriter& resource_attributes() { return resource_attributes_; }
  OtapAttributeWriter& scope_attributes() { return scope_attributes_; }

  /// Rows of which not everything is said, once all groups know whether they are exact.
  int64_t CountInexact(std::span<const TableBatch> tables) const;

  /// Of its own, without the attribute tables.
  int64_t held_bytes() const;
  void Trim();

 private:
  void NumberRows(std::span<const TableBatch> tables, bool metrics);
  void SortGroups();
  void SortRows(std::span<const TableBatch> tables);
  Status AddResource(OtapGroup* group, uint32_t id, ResourceEnvelope* envelope);
  Status AddScope(OtapGroup* group, uint32_t id, ScopeEnvelope* envelope);

  RequestMemory* memory_ = nullptr;  // Borrowed.
  Dictionary resources_, scopes_, metrics_, keys_;
  std::vector<OtapGroup> groups_;
  std::vector<int32_t> group_of_;  // By row, all tables in turn.
  OtapRuns rows_;
  OtapAttributeWriter resource_attributes_, scope_attributes_;
};

/// Whether OTel-Arrow can say all of what a Metric's envelope holds beside its data points.
bool MetricIsExact(std::string_view envelope);

}  // namespace sheaf::decode
