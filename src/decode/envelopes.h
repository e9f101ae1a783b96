/// What stands around the records of a request: resource, scope, and for data points their metric.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "decode/any_value.h"
#include "decode/dictionary_column.h"
#include "decode/request_context.h"
#include "wire/protobuf_reader.h"

namespace sheaf::decode {

/// Where a walk through a request stands. `serial` changes whenever any of them does.
struct Envelopes {
  std::string resource, scope, metric;    // OTLP bytes without what they repeat; see schemas.h.
  std::string service_name;               // Of the resource; empty where it has none.
  std::string_view metric_name, unit;     // Of the metric.
  uint64_t serial = 0;

  /// Gives the memory back.
  void Forget(RequestMemory* memory) {
    for (std::string* text : {&resource, &scope, &metric, &service_name}) memory->Forget(text);
  }
};

/// Copies the fields of a Resource… or Scope… message except its records (field 2) to `envelope`, and
/// checks them. `attributes_field` as in CheckAttributeHolder for what stands in field 1.
bool ReadEnvelope(std::string_view message, uint32_t attributes_field, RequestContext* context, std::string* envelope,
                  std::string* service_name);

/// Walks an export request: Resource… in field 1, in it Scope… in field 2, in it records in field 2.
/// Calls record(bytes) for each with `envelopes` set. Stops at the first false; returns whether all was well.
template <typename Record>
bool WalkRequest(std::string_view request, RequestContext* context, Envelopes* envelopes, Record&& record) {
  using wire::ProtobufReader;
  using wire::Tag;
  using wire::WireType;
  ProtobufReader resources(request);
  while (resources.Next()) {
    if (resources.tag() != Tag(1, WireType::kBytes)) {
      resources.Skip();
      continue;
    }
    const std::string_view resource = resources.Bytes();
    if (!resources.ok()) break;
    envelopes->service_name.clear();
    if (!ReadEnvelope(resource, 1, context, &envelopes->resource, &envelopes->service_name)) return false;
    ProtobufReader scopes(resource);  // ReadEnvelope has found this level well-formed, and the next one below.
    while (scopes.Next()) {
      if (scopes.tag() != Tag(2, WireType::kBytes)) {
        scopes.Skip();
        continue;
      }
      const std::string_view scope = scopes.Bytes();
      if (!ReadEnvelope(scope, 3, context, &envelopes->scope, nullptr)) return false;
      ++envelopes->serial;
      ProtobufReader records(scope);
      while (records.Next()) {
        if (records.tag() != Tag(2, WireType::kBytes)) {
          records.Skip();
        } else if (!record(records.Bytes())) {
          return false;
        }
      }
    }
  }
  return resources.ok() || context->Malformed(resources.position(), "export request");
}

/// The columns service_name, resource and scope, which change only between scopes. Not thread-safe.
class EnvelopeColumns {
 public:
  void Start(RequestMemory* memory, int64_t rows) {
    service_.Start(memory, rows);
    resource_.Start(memory, rows);
    scope_.Start(memory, rows);
    filled_ = 0;
    serial_ = 0;
  }
  /// Rows from `row` on stand in `envelopes`.
  void Enter(const Envelopes& envelopes, int64_t row, RequestContext* context) {
    if (envelopes.serial != serial_) [[unlikely]] Change(envelopes, row, context);
  }
  /// Completes the columns up to `rows`; then they may be finished.
  void Fill(int64_t rows);
  ArrayDataPtr FinishService(const TypePtr& type, int64_t rows) const { return service_.Finish(type, rows); }
  ArrayDataPtr FinishResource(const TypePtr& type, int64_t rows) const { return resource_.Finish(type, rows); }
  ArrayDataPtr FinishScope(const TypePtr& type, int64_t rows) const { return scope_.Finish(type, rows); }
  void Trim(int64_t bytes_max) {
    service_.Trim(bytes_max);
    resource_.Trim(bytes_max);
    scope_.Trim(bytes_max);
  }

 private:
  void Change(const Envelopes& envelopes, int64_t row, RequestContext* context);

  RunColumn service_, resource_, scope_;
  int64_t filled_ = 0;
  uint64_t serial_ = 0;
};

/// The column `original`: a record's whole message where its columns could not say everything in it.
class OriginalColumn {
 public:
  void Start(RequestMemory* memory, int64_t rows) {
    bytes_.Start(memory, rows, 64);
    valid_.Start(memory, rows);
    kept_ = 0;
  }
  void Reserve(int64_t rows) {
    bytes_.Reserve(rows);
    valid_.Reserve(rows);
  }
  void Put(int64_t row, std::string_view message, bool odd) {
    valid_.Set(row, odd);
    if (odd) [[unlikely]] {
      bytes_.Put(row, message, 0);
      ++kept_;
    } else {
      bytes_.PutNone(row);
    }
  }
  ArrayDataPtr Finish(const TypePtr& type, int64_t rows) const { return MakeArray(type, rows, bytes_, valid_, rows - kept_); }
  void Trim(int64_t bytes_max) {
    bytes_.Trim(bytes_max);
    valid_.Trim(bytes_max);
  }

 private:
  BytesColumn bytes_;
  BitColumn valid_;
  int64_t kept_ = 0;
};

}  // namespace sheaf::decode
