/// The spans of one trace as a tree: built from rows, drawn as text or written as JSON.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <arrow/record_batch.h>

#include "core/status.h"

namespace sheaf::cli {

struct TraceSpan {
  std::string span_id, parent_span_id;  // Raw bytes; no parent: empty.
  std::string service, name, kind, status_code, status_message;
  int64_t start_ns = 0, duration_ns = 0;
  int64_t events = 0, links = 0;
};

/// The columns that AppendSpans() wants, in its order, as a SELECT list.
inline constexpr const char* kTraceColumns =
    "span_id, parent_span_id, service_name, name, kind, status_code, status_message, epoch_ns(start_time) AS start_ns, "
    "duration_ns, len(events) AS events, len(links) AS links";

/// Appends a span for each row of `batch`. Error: Invalid (its columns are others).
Status AppendSpans(const arrow::RecordBatch& batch, std::vector<TraceSpan>* spans);

/// A node for each span, in order of start below its parent. Spans whose parent is not among them are
/// roots; so is the first of a ring of parents, which broken senders make.
struct TraceNode {
  size_t span = 0;  // Index into the spans.
  std::vector<TraceNode> children;
};
std::vector<TraceNode> BuildTree(const std::vector<TraceSpan>& spans);

std::string DrawTree(const std::string& trace_id, const std::vector<TraceSpan>& spans);
std::string TreeAsJson(const std::string& trace_id, const std::vector<TraceSpan>& spans);

}  // namespace sheaf::cli
