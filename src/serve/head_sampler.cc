#include "serve/head_sampler.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <optional>

#include <arrow/array/array_binary.h>
#include <arrow/array/array_dict.h>

#include "columns/row_union.h"
#include "columns/sampler.h"
#include "columns/trace_state.h"
#include "core/check.h"
#include "serve/trace_states.h"

namespace sheaf::serve {
namespace {

std::string_view Trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\n") - first + 1);
}

/// Takes the next rule, up to a comma that no quotes enclose, off `text`.
std::string_view NextRule(std::string_view* text) {
  bool quoted = false;
  size_t end = 0;
  for (; end < text->size() && (quoted || (*text)[end] != ','); ++end) quoted ^= (*text)[end] == '"';
  const std::string_view rule = Trim(text->substr(0, end));
  text->remove_prefix(std::min(end + 1, text->size()));
  return rule;
}

/// The service that `rule` names and its share; nothing where it is malformed.
std::optional<std::pair<std::string, double>> ReadRule(std::string_view rule) {
  const size_t equals = rule.rfind('=');
  if (equals == std::string_view::npos) return std::nullopt;
  std::string_view name = Trim(rule.substr(0, equals));
  const std::string_view share = Trim(rule.substr(equals + 1));
  if (name.size() >= 2 && name.front() == '"' && name.back() == '"') name = name.substr(1, name.size() - 2);
  if (name.empty() || name.find('"') != std::string_view::npos) return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(share.data(), share.data() + share.size(), value);
  if (error != std::errc() || end != share.data() + share.size()) return std::nullopt;
  return std::make_pair(std::string(name), value);
}

std::shared_ptr<arrow::Array> ColumnOf(const arrow::RecordBatch& spans, const char* name) {
  const auto column = spans.GetColumnByName(name);
  SHEAF_CHECK(column != nullptr);
  return column;
}

/// The threshold that the rules have for each span.
std::vector<uint64_t> RuleThresholds(const SamplingRules& rules, const arrow::RecordBatch& spans) {
  const auto column = ColumnOf(spans, "service_name");
  const auto& services = static_cast<const arrow::DictionaryArray&>(*column);
  const auto& names = static_cast<const arrow::StringArray&>(*services.dictionary());
  std::vector<uint64_t> of_name(static_cast<size_t>(names.length()));
  for (int64_t i = 0; i < names.length(); ++i) of_name[static_cast<size_t>(i)] = rules.ThresholdOf(names.GetView(i));
  std::vector<uint64_t> out(static_cast<size_t>(spans.num_rows()));
  for (int64_t row = 0; row < spans.num_rows(); ++row) {
    const bool named = services.IsValid(row);
    out[static_cast<size_t>(row)] = named ? of_name[static_cast<size_t>(services.GetValueIndex(row))] : rules.ThresholdOf("");
  }
  return out;
}

}  // namespace

Result<SamplingRules> SamplingRules::Parse(std::string_view text, int digits) {
  SamplingRules out;
  size_t rules = 0;
  while (!Trim(text).empty()) {
    const std::string_view rule = NextRule(&text);
    const auto read = ReadRule(rule);
    if (!read) {
      return MakeError(ErrorKind::kInvalid,
                       "'{}' is no sampling rule; expected are a service and the share of its spans that is kept, as in "
                       "checkout = 0.5, * = 0.1",
                       rule);
    }
    const auto& [service, share] = *read;
    if (!(share == 0 || (share >= std::ldexp(1.0, -56) && share <= 1))) {
      return MakeError(ErrorKind::kInvalid, "sampling rule '{}': the share must be from 2^-56 to 1, or 0", rule);
    }
    if (++rules > kRulesMax) return MakeError(ErrorKind::kInvalid, "more than {} sampling rules", kRulesMax);
    const uint64_t threshold = columns::SamplingThreshold(share, digits);
    if (!out.of_service_.emplace(service, threshold).second) {
      return MakeError(ErrorKind::kInvalid, "sampling rule '{}': there is another one for this service", rule);
    }
  }
  if (const auto others = out.of_service_.find("*"); others != out.of_service_.end()) {
    out.others_ = others->second;
    out.of_service_.erase(others);
  }
  return out;
}

uint64_t SamplingRules::ThresholdOf(std::string_view service) const {
  const auto found = of_service_.find(service);
  return found == of_service_.end() ? others_ : found->second;
}

SpanDecisions DecideSpans(const SamplingRules& rules, const arrow::RecordBatch& spans) {
  const int64_t rows = spans.num_rows();
  SpanDecisions out;
  out.thresholds = RuleThresholds(rules, spans);
  out.kept.resize(static_cast<size_t>(rows + 63) / 64);
  const auto id_column = ColumnOf(spans, "trace_id"), state_column = ColumnOf(spans, "trace_state");
  const auto& ids = static_cast<const arrow::FixedSizeBinaryArray&>(*id_column);
  const auto& states = static_cast<const arrow::StringArray&>(*state_column);
  std::vector<std::pair<int64_t, bool>> by_rv;  // Spans whose random bits are not those of their ids, and whether they are kept.
  for (int64_t row = 0; row < rows; ++row) {
    uint64_t& threshold = out.thresholds[static_cast<size_t>(row)];
    if (threshold == 0 || states.value_length(row) == 0) continue;
    const columns::SamplingState state = columns::ReadSamplingState(states.GetView(row));
    const uint64_t random = state.randomness ? *state.randomness : columns::TraceRandomness(ids.GetValue(row));
    if (state.threshold && random >= *state.threshold) threshold = std::max(threshold, *state.threshold);
    if (state.randomness) by_rv.emplace_back(row, random >= threshold);
  }
  columns::SampleTraces(columns::TraceIdOrder::kBytes, ids.raw_values(), rows, out.thresholds.data(), out.kept.data());
  for (const auto& [row, kept] : by_rv) {
    uint64_t& bits = out.kept[static_cast<size_t>(row / 64)];
    bits = (bits & ~(uint64_t{1} << (row % 64))) | uint64_t{kept} << (row % 64);
  }
  for (const uint64_t bits : out.kept) out.kept_count += std::popcount(bits);
  return out;
}

Result<std::shared_ptr<arrow::RecordBatch>> TakeSpans(const SpanDecisions& decisions, bool kept,
                                                      const std::shared_ptr<arrow::RecordBatch>& spans, arrow::MemoryPool* pool) {
  const int64_t count = kept ? decisions.kept_count : spans->num_rows() - decisions.kept_count;
  if (count == 0) return nullptr;
  if (count == spans->num_rows()) return spans;
  std::vector<uint32_t> rows;
  rows.reserve(static_cast<size_t>(count));
  for (int64_t row = 0; row < spans->num_rows(); ++row) {
    if (decisions.keeps(row) == kept) rows.push_back(static_cast<uint32_t>(row));
  }
  SHEAF_ASSIGN_OR_RETURN(const auto all, columns::RowUnion::Make(spans->schema(), {spans}, pool));
  SHEAF_ASSIGN_OR_RETURN(const auto taken, all->Gather(rows, count));
  return taken.front();
}

Result<std::shared_ptr<arrow::RecordBatch>> TakeKept(const SpanDecisions& decisions,
                                                     const std::shared_ptr<arrow::RecordBatch>& spans, arrow::MemoryPool* pool) {
  SHEAF_ASSIGN_OR_RETURN(const auto kept, TakeSpans(decisions, true, spans, pool));
  if (kept == nullptr) return nullptr;
  std::vector<uint64_t> thresholds;
  thresholds.reserve(static_cast<size_t>(decisions.kept_count));
  for (int64_t row = 0; row < spans->num_rows(); ++row) {
    if (decisions.keeps(row)) thresholds.push_back(decisions.thresholds[static_cast<size_t>(row)]);
  }
  const auto note = [&](int64_t row, std::string_view trace_state, std::string* noted) {
    const uint64_t threshold = thresholds[static_cast<size_t>(row)];
    if (threshold == 0) return false;
    columns::WriteSamplingState(trace_state, threshold, noted);
    return true;
  };
  return ChangeTraceStates(kept, note, pool);
}

}  // namespace sheaf::serve
