#include "serve/tail_sampler.h"

#include <algorithm>
#include <cstring>
#include <set>

#include <arrow/array/array_binary.h>
#include <arrow/array/array_dict.h>
#include <arrow/array/array_primitive.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/reader.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/byte_size.h>

#include "columns/id_search.h"
#include "columns/row_union.h"
#include "columns/trace_state.h"
#include "core/check.h"
#include "core/memory.h"
#include "serve/trace_states.h"

namespace sheaf::serve {
namespace {

using TraceId = TailSampler::TraceId;

constexpr int64_t kHeadBytes = 16 << 10;  // Of a copy, beside its columns: the schema, and where they lie.

arrow::MemoryPool* Pool() {
  static TrackingPool& pool = NamedPool("tail_sampling");
  return &pool;
}

/// The batch in one buffer of its own: gathered columns may still share dictionaries with the decoder, whose buffers are larger
/// than what they hold.
Result<std::shared_ptr<TailSampler::Held>> CopyOf(const std::shared_ptr<arrow::RecordBatch>& spans) {
  SHEAF_ASSIGN_OR_RETURN(const auto out,
                         arrow::io::BufferOutputStream::Create(arrow::util::TotalBufferSize(*spans) + kHeadBytes, Pool()));
  SHEAF_ASSIGN_OR_RETURN(const auto writer, arrow::ipc::MakeStreamWriter(out, spans->schema()));
  SHEAF_RETURN_NOT_OK(writer->WriteRecordBatch(*spans));
  SHEAF_RETURN_NOT_OK(writer->Close());
  SHEAF_ASSIGN_OR_RETURN(const auto bytes, out->Finish());
  SHEAF_ASSIGN_OR_RETURN(const auto reader,
                         arrow::ipc::RecordBatchStreamReader::Open(std::make_shared<arrow::io::BufferReader>(bytes)));
  auto held = std::make_shared<TailSampler::Held>();
  SHEAF_RETURN_NOT_OK(reader->ReadNext(&held->spans));
  held->bytes = bytes->capacity();
  held->left = held->spans->num_rows();
  held->taken.resize(static_cast<size_t>(held->left));
  return held;
}

TraceId IdAt(const arrow::FixedSizeBinaryArray& ids, int64_t row) {
  TraceId id;
  std::memcpy(id.data(), ids.GetValue(row), sizeof id);
  return id;
}

std::shared_ptr<arrow::FixedSizeBinaryArray> IdsOf(const arrow::RecordBatch& spans) {
  auto ids = std::static_pointer_cast<arrow::FixedSizeBinaryArray>(spans.GetColumnByName("trace_id"));
  SHEAF_CHECK(ids != nullptr);
  return ids;
}

/// The rows that were taken, as one batch with marked trace states; null where there are none.
Result<std::shared_ptr<arrow::RecordBatch>> GatherTaken(const TailSampler::Taken& taken) {
  if (taken.from.empty()) return nullptr;
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  std::vector<uint32_t> rows;
  int64_t before = 0;
  for (const auto& [held, from] : taken.from) {
    batches.push_back(held->spans);
    for (const int64_t row : from) rows.push_back(static_cast<uint32_t>(before + row));
    before += held->spans->num_rows();
  }
  SHEAF_ASSIGN_OR_RETURN(const auto all, columns::RowUnion::Make(batches.front()->schema(), batches, Pool()));
  SHEAF_ASSIGN_OR_RETURN(const auto gathered, all->Gather(rows, std::ssize(rows)));
  const auto mark = [](int64_t, std::string_view trace_state, std::string* marked) {
    columns::WriteKeptByTail(trace_state, marked);
    return true;
  };
  return ChangeTraceStates(gathered.front(), mark, Pool());
}

}  // namespace

TailSampler::TailSampler(const TailRules& rules, io::Clock* clock)
    : rules_(rules),
      clock_(clock),
      taken_spans_(
          &Metrics().AddCounter("sheaf_tail_sampling_kept_rows_total", "Spans kept for an error or slowness in their trace.")),
      spilled_spans_(&Metrics().AddCounter("sheaf_tail_sampling_spilled_rows_total",
                                           "Spans that left the window before their time, since it was full.")),
      bytes_gauge_(
          &Metrics().AddGauge("sheaf_tail_sampling_held_bytes", "Spans that wait for an error or slowness in their trace.")) {}

std::vector<TraceId> TailSampler::TriggersOf(const arrow::RecordBatch& spans) const {
  const auto status_column = spans.GetColumnByName("status_code"), duration_column = spans.GetColumnByName("duration_ns");
  const auto& status = static_cast<const arrow::DictionaryArray&>(*status_column);
  const auto& codes = static_cast<const arrow::StringArray&>(*status.dictionary());
  const auto& durations = static_cast<const arrow::Int64Array&>(*duration_column);
  const auto ids = IdsOf(spans);
  std::set<TraceId> found;
  for (int64_t row = 0; row < spans.num_rows(); ++row) {
    const bool slow = rules_.slow_ns > 0 && durations.Value(row) >= rules_.slow_ns;
    const bool error = rules_.errors && status.IsValid(row) && codes.GetView(status.GetValueIndex(row)) == "ERROR";
    if (slow || error) found.insert(IdAt(*ids, row));
  }
  return {found.begin(), found.end()};
}

Result<TailSampler::Taken> TailSampler::Take(const SpanDecisions& decisions, const std::shared_ptr<arrow::RecordBatch>& spans) {
  Taken taken;
  SHEAF_ASSIGN_OR_RETURN(const auto left_out, TakeSpans(decisions, false, spans, Pool()));
  if (left_out) {
    SHEAF_ASSIGN_OR_RETURN(taken.own, CopyOf(left_out));
  }
  const std::vector<TraceId> triggers = TriggersOf(*spans);
  Status found;
  {
    MutexLock lock(&mutex_);
    const int64_t now_ns = clock_->MonotonicNs();
    Expire(now_ns);
    taken.traces = Remember(triggers, now_ns);
    taken.kept_until_ns = now_ns + rules_.window_ns;
    Expire(now_ns);  // One request may bring more traces than are remembered.
    found = TakeHeld(taken.traces, &taken);
    if (taken.own) {
      TakeOwn(&taken);
      Hold(taken.own, now_ns);
    }
  }
  Result<std::shared_ptr<arrow::RecordBatch>> gathered = found.ok() ? GatherTaken(taken) : found;
  if (!gathered.ok()) {
    GiveBack(taken);
    return gathered.status();
  }
  taken.spans = std::move(gathered).ValueUnsafe();
  return taken;
}

void TailSampler::CountLogged(const Taken& taken) {
  if (taken.spans) taken_spans_->Add(static_cast<uint64_t>(taken.spans->num_rows()));
}

void TailSampler::GiveBack(const Taken& taken) {
  MutexLock lock(&mutex_);
  for (const auto& [held, rows] : taken.from) {
    for (const int64_t row : rows) held->taken[static_cast<size_t>(row)] = false;
    held->left += std::ssize(rows);
  }
  for (const TraceId& id : taken.traces) {
    const auto kept = kept_.find(id);
    if (kept != kept_.end() && kept->second == taken.kept_until_ns) kept_.erase(kept);  // Another request's stay.
  }
  const auto own = std::find(held_.begin(), held_.end(), taken.own);
  if (own == held_.end()) return;
  held_bytes_ -= (*own)->bytes;
  held_.erase(own);
  bytes_gauge_->Set(held_bytes_);
}

int64_t TailSampler::held_bytes() const {
  MutexLock lock(&mutex_);
  return held_bytes_;
}

void TailSampler::Expire(int64_t now_ns) {
  while (!held_.empty() && held_.front()->until_ns <= now_ns) DropOldest();
  while (!kept_order_.empty() && (kept_order_.front().first <= now_ns || kept_order_.size() > kKeptTracesMax)) {
    const auto kept = kept_.find(kept_order_.front().second);
    if (kept != kept_.end() && kept->second == kept_order_.front().first) kept_.erase(kept);
    kept_order_.pop_front();
  }
}

std::vector<TraceId> TailSampler::Remember(const std::vector<TraceId>& traces, int64_t now_ns) {
  const int64_t until_ns = now_ns + rules_.window_ns;
  std::vector<TraceId> out;
  for (const TraceId& id : traces) {
    if (!kept_.emplace(id, until_ns).second) continue;
    kept_order_.emplace_back(until_ns, id);
    out.push_back(id);
  }
  return out;
}

Status TailSampler::TakeHeld(std::span<const TraceId> traces, Taken* taken) {
  if (traces.empty() || held_.empty()) return Status::OK();
  std::vector<std::string> ids;
  for (const TraceId& id : traces.first(std::min(traces.size(), columns::IdSearch::kIdsMax)))
    ids.emplace_back(reinterpret_cast<const char*>(id.data()), sizeof id);
  SHEAF_ASSIGN_OR_RETURN(const auto search, columns::IdSearch::Make(*IdsOf(*held_.front()->spans)->type(), ids));
  std::vector<int64_t> rows;
  for (const auto& held : held_) {
    rows.clear();
    SHEAF_RETURN_NOT_OK(search.Find(*IdsOf(*held->spans)->data(), 0, held->spans->num_rows(), &rows));
    std::erase_if(rows, [&](int64_t row) { return held->taken[static_cast<size_t>(row)]; });
    if (rows.empty()) continue;
    for (const int64_t row : rows) held->taken[static_cast<size_t>(row)] = true;
    held->left -= std::ssize(rows);
    taken->from.emplace_back(held, rows);
  }
  return TakeHeld(traces.subspan(ids.size()), taken);
}

void TailSampler::TakeOwn(Taken* taken) {
  if (kept_.empty()) return;
  Held& own = *taken->own;
  const auto ids = IdsOf(*own.spans);
  std::vector<int64_t> rows;
  for (int64_t row = 0; row < ids->length(); ++row) {
    if (!kept_.contains(IdAt(*ids, row))) continue;
    own.taken[static_cast<size_t>(row)] = true;
    rows.push_back(row);
  }
  if (rows.empty()) return;
  own.left -= std::ssize(rows);
  taken->from.emplace_back(taken->own, std::move(rows));
}

void TailSampler::Hold(const std::shared_ptr<Held>& held, int64_t now_ns) {
  if (held->left == 0) return;
  held->until_ns = now_ns + rules_.window_ns;
  held_.push_back(held);
  held_bytes_ += held->bytes;
  while (held_bytes_ > rules_.window_bytes) {
    spilled_spans_->Add(static_cast<uint64_t>(held_.front()->left));
    DropOldest();
  }
  bytes_gauge_->Set(held_bytes_);
}

void TailSampler::DropOldest() {
  held_bytes_ -= held_.front()->bytes;
  held_.pop_front();
  bytes_gauge_->Set(held_bytes_);
}

}  // namespace sheaf::serve
