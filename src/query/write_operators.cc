#include "query/write_operators.h"

#include <algorithm>
#include <memory>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/mutex.h"
#include "query/arrow_to_duckdb.h"
#include "query/old_rows.h"
#include "query/statement_state.h"
#include "query/store_table.h"
#include "query/store_transaction.h"
#include "query/table_definitions.h"
#include "query/table_rows.h"

namespace sheaf::query {

namespace {

using duckdb::ClientContext;
using duckdb::DataChunk;
using duckdb::idx_t;
using duckdb::LogicalType;
using duckdb::PhysicalOperator;
using duckdb::Value;

constexpr int64_t kGatheredRowsMax = 122'880;  // Rows of one thread before they are handed on.

template <typename T>
T Unwrap(ClientContext& context, Result<T> result) {
  if (!result.ok()) ThrowStatus(context, result.status());
  return std::move(result).ValueUnsafe();
}

void CheckOk(ClientContext& context, const Status& status) {
  if (!status.ok()) ThrowStatus(context, status);
}

[[noreturn]] void RefuseTelemetry(const store::TableInfo& info) {
  throw duckdb::PermissionException("%s.%s is filled by OTLP, which knows how its rows are made: SQL reads it only", info.schema_name,
                                    info.name);
}

void RequireKeyed(const StoreTable& table, const char* what) {
  if (table.is_keyed()) return;
  throw duckdb::BinderException("%s.%s has no primary key: its rows are added and expire, %s is for tables with one",
                                table.info()->schema_name, table.info()->name, what);
}

/// Ends a statement's writes and tells the statement's record what came of them.
void CommitWrites(ClientContext& context, StatementWrites* writes) {
  const Status committed = writes->Commit();
  auto& record = *SessionState::Of(context).record();
  if (writes->lsn().value > 0) record.SetLsn(writes->lsn());
  CheckOk(context, committed);
}

/// Rows that a thread has converted and not yet handed on.
class Gathered : public duckdb::LocalSinkState {
 public:
  void Add(std::shared_ptr<arrow::RecordBatch> batch) {
    rows_ += batch->num_rows();
    batches_.push_back(std::move(batch));
  }
  int64_t rows() const { return rows_; }
  Result<std::shared_ptr<arrow::RecordBatch>> Take() {
    rows_ = 0;
    auto batches = std::exchange(batches_, {});
    if (batches.size() == 1) return batches[0];
    return arrow::ConcatenateRecordBatches(batches);
  }

 private:
  arrow::RecordBatchVector batches_;
  int64_t rows_ = 0;
};

/// What the threads of one sink share: the row numbers that the statement has touched, since a join may bring one twice, and the
/// first counts.
class Touched : public duckdb::GlobalSinkState {
 public:
  /// Rows that an action of a MERGE returns: the MERGE asks for them before all is committed.
  void Return(std::shared_ptr<arrow::RecordBatch> rows) SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    returned_.push_back(std::move(rows));
  }
  arrow::RecordBatchVector TakeReturned() SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    return std::exchange(returned_, {});
  }

  /// Leaves in `selection` the positions of rows that are new; returns how many.
  idx_t Claim(const int64_t* rows, idx_t count, duckdb::SelectionVector* selection) SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    idx_t fresh = 0;
    for (idx_t i = 0; i < count; ++i) {
      if (rows_.insert(rows[i]).second) selection->set_index(fresh++, i);
    }
    return fresh;
  }

 private:
  Mutex mutex_;
  std::unordered_set<int64_t> rows_ SHEAF_GUARDED_BY(mutex_);
  arrow::RecordBatchVector returned_ SHEAF_GUARDED_BY(mutex_);
};

struct EmitState : public duckdb::GlobalSourceState {
  bool started = false;
  arrow::RecordBatchVector batches;
  size_t batch = 0;
  int64_t offset = 0;
};

/// The next rows of `state` as a chunk.
void EmitRows(EmitState* state, DataChunk* out) {
  while (state->batch < state->batches.size()) {
    const auto& batch = state->batches[state->batch];
    const int64_t count = std::min<int64_t>(STANDARD_VECTOR_SIZE, batch->num_rows() - state->offset);
    if (count == 0) {
      ++state->batch;
      state->offset = 0;
      continue;
    }
    for (int i = 0; i < batch->num_columns(); ++i) {
      ConvertArray(batch->column(i), {.offset = state->offset, .count = count}, &out->data[static_cast<size_t>(i)]);
    }
    out->SetCardinality(static_cast<idx_t>(count));
    state->offset += count;
    return;
  }
}

/// A sink of rows and a source of either their number or, for RETURNING, themselves.
class WriteOperator : public PhysicalOperator {
 public:
  enum class Verb { kInsert, kUpdate, kDelete, kCreate };
  static constexpr const duckdb::PhysicalOperatorType TYPE = duckdb::PhysicalOperatorType::EXTENSION;

  WriteOperator(duckdb::PhysicalPlan& plan, duckdb::vector<LogicalType> types, idx_t rows, duckdb::Catalog& catalog, Verb verb,
                WriteKind kind, bool returning)
      : PhysicalOperator(plan, duckdb::PhysicalOperatorType::EXTENSION, std::move(types), rows), catalog_(catalog), verb_(verb),
        kind_(kind), returning_(returning) {}

  std::string GetName() const override {
    switch (verb_) {
      case Verb::kInsert: return "SHEAF_INSERT";
      case Verb::kUpdate: return "SHEAF_UPDATE";
      case Verb::kDelete: return "SHEAF_DELETE";
      case Verb::kCreate: return "SHEAF_CREATE_TABLE_AS";
    }
    return "SHEAF_WRITE";
  }
  bool IsSink() const override { return true; }
  bool IsSource() const override { return true; }
  /// A keyed table's rows come in their order: of two with one key the later counts.
  bool ParallelSink() const override { return verb_ == Verb::kCreate || (verb_ == Verb::kInsert && !table->is_keyed()); }
  bool SinkOrderDependent() const override { return verb_ == Verb::kInsert && table->is_keyed(); }

  duckdb::unique_ptr<duckdb::GlobalSinkState> GetGlobalSinkState(ClientContext& context) const override {
    auto& transaction = StoreTransaction::Get(context, catalog_);
    if (verb_ == Verb::kCreate) {
      transaction.writes().BeginNew(*new_table);
    } else {
      transaction.writes().Begin(table->info(), transaction.snapshot().lsn());
    }
    if (returning_ && !part_of_merge) transaction.writes().ReturnRows();
    return duckdb::make_uniq<Touched>();
  }
  duckdb::unique_ptr<duckdb::LocalSinkState> GetLocalSinkState(duckdb::ExecutionContext&) const override {
    return duckdb::make_uniq<Gathered>();
  }

  duckdb::SinkResultType Sink(duckdb::ExecutionContext& execution, DataChunk& chunk, duckdb::OperatorSinkInput& input) const override {
    ClientContext& context = execution.client;
    auto& gathered = input.local_state.Cast<Gathered>();
    if (verb_ == Verb::kDelete) {
      Delete(context, chunk, &input.global_state.Cast<Touched>());
    } else if (verb_ == Verb::kUpdate) {
      Update(context, chunk, &input.global_state.Cast<Touched>(), &gathered);
    } else {
      gathered.Add(Unwrap(context, ToTableBatch(context, chunk, verb_ == Verb::kCreate ? new_table->schema : table->info()->schema)));
    }
    if (gathered.rows() >= kGatheredRowsMax) HandOn(context, &gathered, &input.global_state.Cast<Touched>());
    return duckdb::SinkResultType::NEED_MORE_INPUT;
  }
  duckdb::SinkCombineResultType Combine(duckdb::ExecutionContext& execution, duckdb::OperatorSinkCombineInput& input) const override {
    HandOn(execution.client, &input.local_state.Cast<Gathered>(), &input.global_state.Cast<Touched>());
    return duckdb::SinkCombineResultType::FINISHED;
  }
  duckdb::SinkFinalizeType Finalize(duckdb::Pipeline&, duckdb::Event&, ClientContext& context,
                                    duckdb::OperatorSinkFinalizeInput&) const override {
    if (!part_of_merge) CommitWrites(context, &StoreTransaction::Get(context, catalog_).writes());
    return duckdb::SinkFinalizeType::READY;
  }

  duckdb::unique_ptr<duckdb::GlobalSourceState> GetGlobalSourceState(ClientContext&) const override {
    return duckdb::make_uniq<EmitState>();
  }
  duckdb::SourceResultType GetDataInternal(duckdb::ExecutionContext& execution, DataChunk& out,
                                           duckdb::OperatorSourceInput& input) const override {
    auto& state = input.global_state.Cast<EmitState>();
    auto& writes = StoreTransaction::Get(execution.client, catalog_).writes();
    if (!returning_) {
      if (state.started) return duckdb::SourceResultType::FINISHED;
      state.started = true;
      out.SetValue(0, 0, Value::BIGINT(writes.rows()));
      out.SetCardinality(1);
      return duckdb::SourceResultType::FINISHED;
    }
    if (!std::exchange(state.started, true)) {
      state.batches = part_of_merge ? sink_state->Cast<Touched>().TakeReturned() : writes.TakeReturned();
    }
    EmitRows(&state, &out);
    return out.size() > 0 ? duckdb::SourceResultType::HAVE_MORE_OUTPUT : duckdb::SourceResultType::FINISHED;
  }

  StoreTable* table = nullptr;               // Not of CREATE TABLE AS. Lives in the catalog.
  std::unique_ptr<store::NewTable> new_table;
  bool part_of_merge = false;                // Another operator commits.
  idx_t row_number = 0;                      // DELETE: position of the row number in the chunks.
  duckdb::vector<duckdb::PhysicalIndex> set_columns;                    // UPDATE: all columns…
  duckdb::vector<duckdb::unique_ptr<duckdb::Expression>> set_values;    // …and where their values are in the chunks.
  duckdb::vector<Value> defaults;

 private:
  void HandOn(ClientContext& context, Gathered* gathered, Touched* shared) const {
    if (gathered->rows() == 0) return;
    auto batch = Unwrap(context, gathered->Take());
    if (returning_ && part_of_merge) shared->Return(batch);
    CheckOk(context, StoreTransaction::Get(context, catalog_).writes().Add(kind_, std::move(batch)));
  }

  /// The positions of rows not touched before, and their row numbers in that order.
  static idx_t Fresh(DataChunk& chunk, idx_t column, Touched* touched, duckdb::SelectionVector* selection) {
    chunk.data[column].Flatten(chunk.size());
    return touched->Claim(duckdb::FlatVector::GetData<int64_t>(chunk.data[column]), chunk.size(), selection);
  }

  void Update(ClientContext& context, DataChunk& chunk, Touched* touched, Gathered* gathered) const {
    DataChunk rows;
    rows.InitializeEmpty(table->GetTypes());
    for (size_t i = 0; i < set_columns.size(); ++i) {
      duckdb::Vector& target = rows.data[set_columns[i].index];
      if (set_values[i]->GetExpressionType() == duckdb::ExpressionType::VALUE_DEFAULT) {
        target.Reference(defaults[set_columns[i].index]);
      } else {
        target.Reference(chunk.data[set_values[i]->Cast<duckdb::BoundReferenceExpression>().index]);
      }
    }
    rows.SetCardinality(chunk.size());
    duckdb::SelectionVector selection(chunk.size());
    const idx_t fresh = Fresh(chunk, chunk.ColumnCount() - 1, touched, &selection);
    if (fresh < chunk.size()) rows.Slice(selection, fresh);
    if (fresh > 0) gathered->Add(Unwrap(context, ToTableBatch(context, rows, table->info()->schema)));
  }

  void Delete(ClientContext& context, DataChunk& chunk, Touched* touched) const {
    duckdb::SelectionVector selection(chunk.size());
    const idx_t fresh = Fresh(chunk, row_number, touched, &selection);
    const auto* numbers = duckdb::FlatVector::GetData<int64_t>(chunk.data[row_number]);
    std::vector<int64_t> rows;
    for (idx_t i = 0; i < fresh; ++i) rows.push_back(numbers[selection.get_index(i)]);
    if (rows.empty()) return;
    auto& transaction = StoreTransaction::Get(context, catalog_);
    auto snapshot = Unwrap(context, transaction.Table(table->info()->id));
    std::vector<int> all;
    for (int i = 0; i < table->info()->schema->num_fields(); ++i) all.push_back(i);
    std::shared_ptr<arrow::RecordBatch> keys, old_rows;
    if (returning_) {
      old_rows = Unwrap(context, ReadRows(transaction, snapshot, rows, all));
      keys = Unwrap(context, old_rows->SelectColumns(table->info()->key_columns));
      if (part_of_merge) touched->Return(old_rows);
    } else {
      keys = Unwrap(context, ReadRows(transaction, snapshot, rows, table->info()->key_columns));
    }
    CheckOk(context, transaction.writes().Add(WriteKind::kDelete, std::move(keys), std::move(old_rows)));
  }

  duckdb::Catalog& catalog_;
  const Verb verb_;
  const WriteKind kind_;
  const bool returning_;
};

/// Stands above a MERGE: commits what its actions have gathered, then hands its result on.
class CommitOperator : public PhysicalOperator {
 public:
  static constexpr const duckdb::PhysicalOperatorType TYPE = duckdb::PhysicalOperatorType::EXTENSION;

  CommitOperator(duckdb::PhysicalPlan& plan, duckdb::vector<LogicalType> types, duckdb::Catalog& catalog)
      : PhysicalOperator(plan, duckdb::PhysicalOperatorType::EXTENSION, std::move(types), 1), catalog_(catalog) {}

  std::string GetName() const override { return "SHEAF_COMMIT"; }
  bool IsSink() const override { return true; }
  bool IsSource() const override { return true; }

  struct Kept : public duckdb::GlobalSinkState {
    std::unique_ptr<duckdb::ColumnDataCollection> rows;
  };
  struct Place : public duckdb::GlobalSourceState {
    duckdb::ColumnDataScanState scan;
  };

  duckdb::unique_ptr<duckdb::GlobalSinkState> GetGlobalSinkState(ClientContext& context) const override {
    auto kept = duckdb::make_uniq<Kept>();
    kept->rows = std::make_unique<duckdb::ColumnDataCollection>(context, types);
    return std::move(kept);
  }
  duckdb::SinkResultType Sink(duckdb::ExecutionContext&, DataChunk& chunk, duckdb::OperatorSinkInput& input) const override {
    input.global_state.Cast<Kept>().rows->Append(chunk);
    return duckdb::SinkResultType::NEED_MORE_INPUT;
  }
  duckdb::SinkFinalizeType Finalize(duckdb::Pipeline&, duckdb::Event&, ClientContext& context,
                                    duckdb::OperatorSinkFinalizeInput&) const override {
    CommitWrites(context, &StoreTransaction::Get(context, catalog_).writes());
    return duckdb::SinkFinalizeType::READY;
  }
  duckdb::unique_ptr<duckdb::GlobalSourceState> GetGlobalSourceState(ClientContext&) const override {
    auto place = duckdb::make_uniq<Place>();
    sink_state->Cast<Kept>().rows->InitializeScan(place->scan);
    return std::move(place);
  }
  duckdb::SourceResultType GetDataInternal(duckdb::ExecutionContext&, DataChunk& out, duckdb::OperatorSourceInput& input) const override {
    sink_state->Cast<Kept>().rows->Scan(input.global_state.Cast<Place>().scan, out);
    return out.size() > 0 ? duckdb::SourceResultType::HAVE_MORE_OUTPUT : duckdb::SourceResultType::FINISHED;
  }

 private:
  duckdb::Catalog& catalog_;
};

duckdb::vector<Value> DefaultValues(ClientContext& context, const StoreTable& table) {
  duckdb::vector<Value> values;
  const store::TableInfo& info = *table.info();
  const auto types = table.GetTypes();
  for (size_t i = 0; i < types.size(); ++i) {
    const bool has = i < info.defaults.size() && info.defaults[i];
    values.push_back(has ? Unwrap(context, ToValue(*info.defaults[i])) : Value(types[i]));
  }
  return values;
}

WriteOperator& MakeWrite(duckdb::PhysicalPlanGenerator& planner, duckdb::vector<LogicalType> types, idx_t rows, StoreTable& table,
                         WriteOperator::Verb verb, WriteKind kind, bool returning) {
  auto& write = planner.Make<WriteOperator>(std::move(types), rows, table.catalog, verb, kind, returning).Cast<WriteOperator>();
  write.table = &table;
  return write;
}

StoreTable& Writable(duckdb::TableCatalogEntry& entry) {
  auto* table = dynamic_cast<StoreTable*>(&entry);
  if (table == nullptr) {
    throw duckdb::PermissionException("%s.%s is a system table: it cannot be written", entry.ParentSchema().name, entry.name);
  }
  if (IsTelemetry(*table->info())) RefuseTelemetry(*table->info());
  return *table;
}

using Actions = duckdb::map<duckdb::MergeActionCondition, duckdb::vector<duckdb::unique_ptr<duckdb::MergeIntoOperator>>>;

/// One action of a MERGE with the operator that carries it out.
duckdb::unique_ptr<duckdb::MergeIntoOperator> PlanAction(ClientContext& context, duckdb::PhysicalPlanGenerator& planner,
                                                         duckdb::LogicalMergeInto& op, StoreTable& table,
                                                         duckdb::BoundMergeIntoAction& action) {
  auto made = duckdb::make_uniq<duckdb::MergeIntoOperator>();
  made->action_type = action.action_type;
  made->condition = std::move(action.condition);
  auto types = op.types;
  if (op.return_chunk) types.pop_back();  // What the action was.
  switch (action.action_type) {
    case duckdb::MergeActionType::MERGE_INSERT: {
      auto& write = MakeWrite(planner, std::move(types), 1, table, WriteOperator::Verb::kInsert, WriteKind::kInsert, op.return_chunk);
      write.part_of_merge = true;
      made->op = write;
      if (!action.column_index_map.empty()) {
        duckdb::vector<duckdb::unique_ptr<duckdb::Expression>> values;
        for (const auto& column : op.table.GetColumns().Physical()) {
          const idx_t given = action.column_index_map[column.Physical()];
          values.push_back(given == duckdb::DConstants::INVALID_INDEX ? op.bound_defaults[column.StorageOid()]->Copy()
                                                                      : std::move(action.expressions[given]));
        }
        action.expressions = std::move(values);
      }
      made->expressions = std::move(action.expressions);
      break;
    }
    case duckdb::MergeActionType::MERGE_UPDATE: {
      auto& write = MakeWrite(planner, std::move(types), 1, table, WriteOperator::Verb::kUpdate, WriteKind::kChange, op.return_chunk);
      write.part_of_merge = true;
      write.set_columns = action.columns;
      write.set_values = std::move(action.expressions);
      write.defaults = DefaultValues(context, table);
      made->op = write;
      break;
    }
    case duckdb::MergeActionType::MERGE_DELETE: {
      auto& write = MakeWrite(planner, std::move(types), 1, table, WriteOperator::Verb::kDelete, WriteKind::kDelete, op.return_chunk);
      write.part_of_merge = true;
      write.row_number = op.row_id_start;
      made->op = write;
      break;
    }
    case duckdb::MergeActionType::MERGE_ERROR: made->expressions = std::move(action.expressions); break;
    case duckdb::MergeActionType::MERGE_DO_NOTHING: break;
  }
  return made;
}

}  // namespace

PhysicalOperator& PlanStoreInsert(ClientContext& context, duckdb::PhysicalPlanGenerator& planner, duckdb::LogicalInsert& op,
                                  duckdb::optional_ptr<PhysicalOperator> plan) {
  StoreTable& table = Writable(op.table);
  const bool only_missing = SessionState::Of(context).insert_missing();
  if (!op.column_index_map.empty()) plan = planner.ResolveDefaultsProjection(op, *plan);
  auto& write = MakeWrite(planner, op.types, op.estimated_cardinality, table, WriteOperator::Verb::kInsert,
                          only_missing ? WriteKind::kPutMissing : WriteKind::kPut, op.return_chunk);
  write.children.push_back(*plan);
  return write;
}

PhysicalOperator& PlanStoreUpdate(ClientContext& context, duckdb::PhysicalPlanGenerator& planner, duckdb::LogicalUpdate& op,
                                  PhysicalOperator& plan) {
  StoreTable& table = Writable(op.table);
  RequireKeyed(table, "UPDATE");
  auto& write = MakeWrite(planner, op.types, op.estimated_cardinality, table, WriteOperator::Verb::kUpdate, WriteKind::kChange,
                          op.return_chunk);
  write.set_columns = op.columns;
  write.set_values = std::move(op.expressions);
  write.defaults = DefaultValues(context, table);
  write.children.push_back(plan);
  return write;
}

PhysicalOperator& PlanStoreDelete(ClientContext&, duckdb::PhysicalPlanGenerator& planner, duckdb::LogicalDelete& op,
                                  PhysicalOperator& plan) {
  StoreTable& table = Writable(op.table);
  RequireKeyed(table, "DELETE");
  auto& write = MakeWrite(planner, op.types, op.estimated_cardinality, table, WriteOperator::Verb::kDelete, WriteKind::kDelete,
                          op.return_chunk);
  write.row_number = op.expressions[0]->Cast<duckdb::BoundReferenceExpression>().index;
  write.children.push_back(plan);
  return write;
}

PhysicalOperator& PlanStoreMerge(ClientContext& context, duckdb::PhysicalPlanGenerator& planner, duckdb::LogicalMergeInto& op,
                                 PhysicalOperator& plan) {
  StoreTable& table = Writable(op.table);
  RequireKeyed(table, "MERGE");
  Actions actions;
  for (auto& [condition, of_condition] : op.actions) {
    duckdb::vector<duckdb::unique_ptr<duckdb::MergeIntoOperator>> planned;
    for (auto& action : of_condition) planned.push_back(PlanAction(context, planner, op, table, *action));
    actions.emplace(condition, std::move(planned));
  }
  auto& merge = planner.Make<duckdb::PhysicalMergeInto>(op.types, std::move(actions), op.row_id_start, op.source_marker, false,
                                                        op.return_chunk);
  merge.children.push_back(plan);
  auto& commit = planner.Make<CommitOperator>(op.types, table.catalog);
  commit.children.push_back(merge);
  return commit;
}

PhysicalOperator& PlanStoreCreateTableAs(ClientContext& context, duckdb::PhysicalPlanGenerator& planner, duckdb::LogicalCreateTable& op,
                                         PhysicalOperator& plan) {
  auto& write = planner.Make<WriteOperator>(op.types, op.estimated_cardinality, op.schema.catalog, WriteOperator::Verb::kCreate,
                                            WriteKind::kPut, false).Cast<WriteOperator>();
  write.new_table = std::make_unique<store::NewTable>(Unwrap(context, ToNewTable(context, op.info->Base())));
  write.children.push_back(plan);
  return write;
}

}  // namespace sheaf::query
