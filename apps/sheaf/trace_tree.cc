#include "trace_tree.h"

#include <algorithm>
#include <set>
#include <unordered_map>

#include <arrow/array.h>
#include <arrow/scalar.h>
#include <arrow/type.h>
#include <nlohmann/json.hpp>

#include "core/hex.h"

namespace sheaf::cli {
namespace {

constexpr int kColumns = 11;

std::string TextAt(const arrow::Array& array, int64_t row) {
  if (array.IsNull(row)) return {};
  switch (array.type_id()) {
    case arrow::Type::STRING: return static_cast<const arrow::StringArray&>(array).GetString(row);
    case arrow::Type::LARGE_STRING: return static_cast<const arrow::LargeStringArray&>(array).GetString(row);
    case arrow::Type::BINARY: return static_cast<const arrow::BinaryArray&>(array).GetString(row);
    case arrow::Type::FIXED_SIZE_BINARY: return static_cast<const arrow::FixedSizeBinaryArray&>(array).GetString(row);
    case arrow::Type::DICTIONARY: {
      const auto& dictionary = static_cast<const arrow::DictionaryArray&>(array);
      return TextAt(*dictionary.dictionary(), dictionary.GetValueIndex(row));
    }
    default: {
      const auto scalar = array.GetScalar(row);
      return scalar.ok() ? (*scalar)->ToString() : std::string();
    }
  }
}

int64_t NumberAt(const arrow::Array& array, int64_t row) {
  if (array.IsNull(row)) return 0;
  return array.type_id() == arrow::Type::INT64 ? static_cast<const arrow::Int64Array&>(array).Value(row) : 0;
}

bool ByStart(const TraceSpan& a, const TraceSpan& b) {
  return a.start_ns != b.start_ns ? a.start_ns < b.start_ns : a.span_id < b.span_id;
}

class TreeBuilder {
 public:
  explicit TreeBuilder(const std::vector<TraceSpan>& spans) : spans_(spans), placed_(spans.size(), false) {
    for (size_t i = 0; i < spans.size(); ++i) {
      order_.push_back(i);
      known_.insert(spans[i].span_id);
    }
    std::sort(order_.begin(), order_.end(), [&](size_t a, size_t b) { return ByStart(spans[a], spans[b]); });
    for (const size_t i : order_) children_[spans[i].parent_span_id].push_back(i);
  }

  std::vector<TraceNode> Build() {
    std::vector<TraceNode> roots;
    for (const size_t i : order_) {
      if (known_.count(spans_[i].parent_span_id) == 0 && !placed_[i]) roots.push_back(Place(i));
    }
    for (const size_t i : order_) {
      if (!placed_[i]) roots.push_back(Place(i));  // Part of a ring, or below one.
    }
    return roots;
  }

 private:
  /// Recursion is as deep as the trace; senders' traces are bounded here so that none overflows the stack.
  TraceNode Place(size_t span, int depth = 0) {
    constexpr int kDepthMax = 2'000;
    placed_[span] = true;
    TraceNode node{.span = span};
    const auto found = children_.find(spans_[span].span_id);
    if (found == children_.end() || depth >= kDepthMax) return node;
    for (const size_t child : found->second) {
      if (!placed_[child]) node.children.push_back(Place(child, depth + 1));
    }
    return node;
  }

  const std::vector<TraceSpan>& spans_;
  std::vector<bool> placed_;
  std::vector<size_t> order_;
  std::set<std::string> known_;
  std::unordered_map<std::string, std::vector<size_t>> children_;
};

std::string Milliseconds(int64_t ns) { return fmt::format("{:.3f} ms", static_cast<double>(ns) / 1e6); }

void DrawNode(const std::vector<TraceSpan>& spans, const TraceNode& node, int64_t begin_ns, const std::string& branch,
              const std::string& below, std::string* out) {
  const TraceSpan& span = spans[node.span];
  *out += fmt::format("{:>14}  +{:<14} {}{}  {}", Milliseconds(span.duration_ns), Milliseconds(span.start_ns - begin_ns), branch,
                      span.service, span.name);
  if (span.kind != "INTERNAL" && !span.kind.empty()) *out += fmt::format("  [{}]", span.kind);
  if (span.events > 0) *out += fmt::format("  {} event{}", span.events, span.events == 1 ? "" : "s");
  if (span.links > 0) *out += fmt::format("  {} link{}", span.links, span.links == 1 ? "" : "s");
  if (span.status_code == "ERROR") *out += "  ERROR" + (span.status_message.empty() ? "" : ": " + span.status_message);
  *out += '\n';
  for (size_t i = 0; i < node.children.size(); ++i) {
    const bool last = i + 1 == node.children.size();
    DrawNode(spans, node.children[i], begin_ns, below + (last ? "└─ " : "├─ "), below + (last ? "   " : "│  "), out);
  }
}

nlohmann::ordered_json NodeAsJson(const std::vector<TraceSpan>& spans, const TraceNode& node) {
  const TraceSpan& span = spans[node.span];
  nlohmann::ordered_json json = {{"span_id", ToHex(span.span_id)}};
  if (!span.parent_span_id.empty()) json["parent_span_id"] = ToHex(span.parent_span_id);
  json["service_name"] = span.service;
  json["name"] = span.name;
  json["kind"] = span.kind;
  json["start_ns"] = span.start_ns;
  json["duration_ns"] = span.duration_ns;
  json["status_code"] = span.status_code;
  if (!span.status_message.empty()) json["status_message"] = span.status_message;
  json["events"] = span.events;
  json["links"] = span.links;
  json["children"] = nlohmann::ordered_json::array();
  for (const TraceNode& child : node.children) json["children"].push_back(NodeAsJson(spans, child));
  return json;
}

}  // namespace

Status AppendSpans(const arrow::RecordBatch& batch, std::vector<TraceSpan>* spans) {
  if (batch.num_columns() != kColumns) {
    return MakeError(ErrorKind::kInvalid, "the trace query answered {} columns instead of {}", batch.num_columns(), kColumns);
  }
  for (int64_t row = 0; row < batch.num_rows(); ++row) {
    TraceSpan span;
    std::string* const texts[] = {&span.span_id, &span.parent_span_id, &span.service,       &span.name,
                                  &span.kind,    &span.status_code,    &span.status_message};
    int column = 0;
    for (std::string* text : texts) *text = TextAt(*batch.column(column++), row);
    for (int64_t* number : {&span.start_ns, &span.duration_ns, &span.events, &span.links}) {
      *number = NumberAt(*batch.column(column++), row);
    }
    spans->push_back(std::move(span));
  }
  return Status::OK();
}

std::vector<TraceNode> BuildTree(const std::vector<TraceSpan>& spans) { return TreeBuilder(spans).Build(); }

std::string DrawTree(const std::string& trace_id, const std::vector<TraceSpan>& spans) {
  int64_t begin = spans.front().start_ns, end = begin;
  std::set<std::string> services;
  int64_t errors = 0;
  for (const TraceSpan& span : spans) {
    begin = std::min(begin, span.start_ns);
    end = std::max(end, span.start_ns + span.duration_ns);
    services.insert(span.service);
    errors += span.status_code == "ERROR" ? 1 : 0;
  }
  std::string out =
      fmt::format("trace {}: {} span{}, {} service{}, {}, {} error{}\n", trace_id, spans.size(), spans.size() == 1 ? "" : "s",
                  services.size(), services.size() == 1 ? "" : "s", Milliseconds(end - begin), errors, errors == 1 ? "" : "s");
  for (const TraceNode& root : BuildTree(spans)) DrawNode(spans, root, begin, "", "", &out);
  return out;
}

std::string TreeAsJson(const std::string& trace_id, const std::vector<TraceSpan>& spans) {
  nlohmann::ordered_json json = {
      {"trace_id", trace_id}, {"span_count", spans.size()}, {"roots", nlohmann::ordered_json::array()}};
  for (const TraceNode& root : BuildTree(spans)) json["roots"].push_back(NodeAsJson(spans, root));
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace sheaf::cli
