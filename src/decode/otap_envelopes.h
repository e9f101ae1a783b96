/// What stands around the records of an OTel-Arrow batch: resource and scope of the root table's rows, as the columns of
/// schemas.h.

#pragma once

#include <span>
#include <string>

#include "decode/otap_attributes.h"
#include "decode/otap_columns.h"

namespace sheaf::decode {

/// Which tables of a batch there are, by what they are for a root table; null where the batch has none.
struct OtapTables {
  const OtapTable* root = nullptr;
  const OtapTable* Get(wire::OtapPayload type) const {
    for (const OtapTable& table : all) {
      if (table.type == type && table.rows > 0) return &table;
    }
    return nullptr;
  }
  std::span<const OtapTable> all;
};

/// The columns service_name, resource and scope of a root table's rows, in an order that may repeat them (data points). Not
/// thread-safe.
class OtapEnvelopes {
 public:
  /// Reads the resource's and the scope's attributes and gives each root row its envelopes. Errors: as OtapAttributes::Read.
  Status Read(const OtapTables& tables, const Limits& limits, OtapColumns* columns);

  /// Gives memory back.
  void Forget(RequestMemory* memory) {
    for (std::string* text : {&envelope_, &service_name_}) memory->Forget(text);
  }

  ArrayDataPtr Service(const TypePtr& type, const RowOrder& root_rows) { return Column(type, service_, service_of_, root_rows); }
  ArrayDataPtr Resource(const TypePtr& type, const RowOrder& root_rows) {
    return Column(type, resource_, resource_of_, root_rows);
  }
  ArrayDataPtr Scope(const TypePtr& type, const RowOrder& root_rows) { return Column(type, scope_, scope_of_, root_rows); }

 private:
  /// The distinct ids among `ids`, in order of first sight, as an index.
  struct Distinct {
    IdIndex index;
    int64_t size = 0;
  };
  Status FindDistinct(const uint32_t* ids, int64_t rows, Distinct* out);
  Status ReadResources(const OtapTables& tables, const Limits& limits);
  Status ReadScopes(const OtapTables& tables, const Limits& limits);
  /// Write envelope_, whose memory is charged before it grows. Each leaves room for a number and lengths to follow.
  void StartEnvelope();
  void WriteText(uint32_t field, std::string_view text);
  void AppendAttributes(OtapAttributes* attributes, uint32_t field, int32_t parent);
  /// The number of the service's name that a resource's attributes tell; empty without one.
  int32_t ServiceOf(int32_t parent);
  ArrayDataPtr Column(const TypePtr& type, const Dictionary* values, const int32_t* value_of, const RowOrder& root_rows);

  OtapColumns* columns_ = nullptr;  // Borrowed.
  OtapAttributes resource_attributes_, scope_attributes_;
  const OtapTable no_attributes_{};
  Dictionary *service_ = nullptr, *resource_ = nullptr, *scope_ = nullptr;
  int32_t *service_of_ = nullptr, *resource_of_ = nullptr, *scope_of_ = nullptr;  // By root row.
  std::string envelope_, service_name_;
};

}  // namespace sheaf::decode
