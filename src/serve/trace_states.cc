#include "serve/trace_states.h"

#include <arrow/array/array_binary.h>
#include <arrow/array/builder_binary.h>

#include "core/check.h"
#include "wire/protobuf_writer.h"

namespace sheaf::serve {

namespace {

constexpr uint32_t kTraceStateField = 3;  // Of a Span.

}  // namespace

Result<std::shared_ptr<arrow::RecordBatch>> ChangeTraceStates(const std::shared_ptr<arrow::RecordBatch>& spans,
                                                              const ChangeTraceState& change, arrow::MemoryPool* pool) {
  const int state_at = spans->schema()->GetFieldIndex("trace_state"), original_at = spans->schema()->GetFieldIndex("original");
  SHEAF_CHECK(state_at >= 0 && original_at >= 0);
  const auto state_column = spans->column(state_at), original_column = spans->column(original_at);
  const auto& states = static_cast<const arrow::StringArray&>(*state_column);
  const auto& originals = static_cast<const arrow::BinaryArray&>(*original_column);
  arrow::StringBuilder new_states(pool);
  arrow::BinaryBuilder new_originals(pool);
  bool any = false;
  std::string changed, original;
  for (int64_t row = 0; row < spans->num_rows(); ++row) {
    changed.clear();
    const bool other = change(row, states.GetView(row), &changed);
    any = any || other;
    SHEAF_RETURN_NOT_OK(new_states.Append(other ? std::string_view(changed) : states.GetView(row)));
    if (originals.IsNull(row)) {
      SHEAF_RETURN_NOT_OK(new_originals.AppendNull());
      continue;
    }
    original.assign(originals.GetView(row));
    if (other) wire::ProtobufWriter(&original).Bytes(kTraceStateField, changed);  // Of a field that repeats, the last counts.
    SHEAF_RETURN_NOT_OK(new_originals.Append(original));
  }
  if (!any) return spans;
  auto columns = spans->columns();
  SHEAF_RETURN_NOT_OK(new_states.Finish(&columns[static_cast<size_t>(state_at)]));
  SHEAF_RETURN_NOT_OK(new_originals.Finish(&columns[static_cast<size_t>(original_at)]));
  return arrow::RecordBatch::Make(spans->schema(), spans->num_rows(), std::move(columns));
}

}  // namespace sheaf::serve
