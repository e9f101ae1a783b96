/// Compares the columns of a decoded batch with libprotobuf's view of the same request.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include <arrow/record_batch.h>
#include <google/protobuf/message.h>

#include "decode/schemas.h"

namespace sheaf::property {

/// A record with the messages around it, each without what they repeat.
struct FlatRecord {
  decode::Signal signal;
  std::string resource, scope, metric;  // Serialised.
  std::string service_name;             // Text of attribute service.name of the resource, where it is a string.
  bool service_is_text = true;
  std::string metric_name, unit;
  int temporality = 0;
  bool is_monotonic = false;
  std::unique_ptr<google::protobuf::Message> record;

  /// All of it, for comparing.
  std::string ToString() const;
};

/// The rows that a request of `signal`'s kind should give, in order (a metrics request: all tables mixed).
/// Spans with ids that OTLP calls invalid are left out and counted in `rejected`.
std::vector<FlatRecord> Flatten(const google::protobuf::Message& request, int64_t* rejected);

/// Fails the current test where a column of `row` differs from `record`. Text is compared as it stands:
/// not for requests with text that is not UTF-8.
void ExpectSameColumns(const FlatRecord& record, const arrow::RecordBatch& batch, int64_t row);

}  // namespace sheaf::property
