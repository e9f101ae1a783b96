#include "compact/merge.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "compact/merge_cursor.h"
#include "compact/merge_output.h"
#include "compact/shared_dictionaries.h"

namespace sheaf::compact {
namespace {

Status CheckSources(const std::vector<MergeSource>& sources, const MergeOptions& options) {
  const arrow::Schema& schema = *options.schema;
  for (const MergeSource& source : sources) {
    if (!source.source->schema()->Equals(schema, /*check_metadata=*/false)) {
      return MakeError(ErrorKind::kInvalid, "{} has the columns\n{}\nand its merge\n{}", source.source->name(),
                       source.source->schema()->ToString(), schema.ToString());
    }
  }
  const arrow::Field* last = schema.num_fields() == 0 ? nullptr : schema.field(schema.num_fields() - 1).get();
  if (last == nullptr || last->name() != parts::kLsnColumn || last->type()->id() != arrow::Type::UINT64) {
    return MakeError(ErrorKind::kInvalid, "a merge needs the column '{}' of type uint64 at the end", parts::kLsnColumn);
  }
  if (options.expire_before_ns && options.time_column >= 0) {
    const auto id = schema.field(options.time_column)->type()->id();
    if (id != arrow::Type::TIMESTAMP && id != arrow::Type::INT64) {
      return MakeError(ErrorKind::kInvalid, "column '{}' of type {} is no time", schema.field(options.time_column)->name(),
                       schema.field(options.time_column)->type()->ToString());
    }
  }
  return Status::OK();
}

/// The sources by the key they stand on, least first.
class CursorHeap {
 public:
  bool empty() const { return cursors_.empty(); }
  void Push(MergeCursor* cursor) {
    cursors_.push_back(cursor);
    std::push_heap(cursors_.begin(), cursors_.end(), Later);
  }
  MergeCursor* Pop() {
    std::pop_heap(cursors_.begin(), cursors_.end(), Later);
    MergeCursor* out = cursors_.back();
    cursors_.pop_back();
    return out;
  }
  /// The key that comes next; none where there is nothing left.
  std::optional<std::string_view> key() const { return empty() ? std::optional<std::string_view>() : cursors_.front()->key(); }

 private:
  static bool Later(const MergeCursor* a, const MergeCursor* b) { return a->key() > b->key(); }
  std::vector<MergeCursor*> cursors_;
};

/// Two rows alive have one key: leaves the older one out and puts both sources back, if that is wanted.
Status Settle(MergeCursor* first, MergeCursor* second, const MergeOptions& options, MergeProgress* progress, CursorHeap* heap) {
  if (!options.newest_wins) {
    return MakeError(ErrorKind::kCorruption,
                     "key {} is alive in {} (LSN {}) and in {} (LSN {}): a row that was replaced is missing from a delete vector",
                     options.keys->ToText(first->key()), first->name(), first->lsn(), second->name(), second->lsn());
  }
  MergeCursor* older = first->lsn() < second->lsn() ? first : second;
  older->Skip();
  ++progress->rows_dead;
  SHEAF_RETURN_NOT_OK(older->Settle());
  for (MergeCursor* cursor : {first, second}) {
    if (!cursor->done()) heap->Push(cursor);
  }
  return Status::OK();
}

Status MergeRows(CursorHeap* heap, const MergeOptions& options, MergeProgress* progress, MergeOutput* output) {
  while (!heap->empty()) {
    MergeCursor* cursor = heap->Pop();
    const std::optional<std::string_view> bound = heap->key();
    if (bound && *bound == cursor->key()) {
      SHEAF_RETURN_NOT_OK(Settle(cursor, heap->Pop(), options, progress, heap));
      continue;
    }
    do {
      const MergeCursor::Run run = cursor->Take(bound);
      SHEAF_RETURN_NOT_OK(output->Append(cursor->batch(), run.start, run.length));
      SHEAF_RETURN_NOT_OK(cursor->Settle());
    } while (!cursor->done() && (!bound || cursor->key() < *bound));
    if (!cursor->done()) heap->Push(cursor);
  }
  return Status::OK();
}

}  // namespace

Result<std::vector<parts::PartInfo>> MergeParts(io::FileSystem* files, const std::string& directory,
                                                const std::vector<MergeSource>& sources, const MergeOptions& options,
                                                MergeProgress* progress) {
  MergeProgress own;
  if (progress == nullptr) progress = &own;
  *progress = {};
  if (sources.empty()) return std::vector<parts::PartInfo>();
  SHEAF_RETURN_NOT_OK(CheckSources(sources, options));
  parts::PartInfo part = options.part;
  part.min_lsn = sources.front().source->min_lsn();
  part.max_lsn = sources.front().source->max_lsn();
  for (const MergeSource& source : sources) {
    part.min_lsn = std::min(part.min_lsn, source.source->min_lsn());
    part.max_lsn = std::max(part.max_lsn, source.source->max_lsn());
  }
  arrow::MemoryPool* pool = options.pool != nullptr ? options.pool : arrow::default_memory_pool();
  SHEAF_ASSIGN_OR_RETURN(const auto dictionaries,
                         SharedDictionaries::Make(options.schema, part.format == parts::Format::kHot, sources, pool));

  std::vector<std::unique_ptr<MergeCursor>> cursors;
  CursorHeap heap;
  for (const MergeSource& source : sources) {
    cursors.push_back(std::make_unique<MergeCursor>(source, &options, dictionaries.get(), progress));
    SHEAF_RETURN_NOT_OK(cursors.back()->Start());
    if (!cursors.back()->done()) heap.Push(cursors.back().get());
  }
  MergeOutput output(files, directory, std::move(part), &options, progress);
  SHEAF_RETURN_NOT_OK(MergeRows(&heap, options, progress, &output));
  return output.Finish();
}

}  // namespace sheaf::compact
