#include "query/few_rows_order.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

namespace sheaf::query {

namespace {

using duckdb::BoundOrderByNode;
using duckdb::ClientContext;
using duckdb::DataChunk;
using duckdb::ExecutionContext;
using duckdb::idx_t;
using duckdb::LogicalOperator;
using duckdb::LogicalType;

constexpr idx_t kRowsMax = STANDARD_VECTOR_SIZE;

/// Rows kept in one chunk that grows with them.
class KeptRows {
 public:
  idx_t size() const { return rows_ ? rows_->size() : 0; }
  bool Fits(const DataChunk& chunk) const { return size() + chunk.size() <= kRowsMax; }

  void Append(ClientContext& context, DataChunk& chunk) {
    if (chunk.size() == 0) return;
    if (!rows_) {
      rows_ = duckdb::make_uniq<DataChunk>();
      rows_->Initialize(context, chunk.GetTypes(), chunk.size());
    }
    rows_->Append(chunk, true);
  }

  DataChunk* rows() const { return rows_.get(); }
  void Clear() { rows_.reset(); }

 private:
  duckdb::unique_ptr<DataChunk> rows_;  // Null: none yet.
};

struct LocalRows : public duckdb::LocalSinkState {
  KeptRows few;
  duckdb::unique_ptr<duckdb::LocalSinkState> many;  // Null: all of this thread's rows are in `few`.
};

/// What the threads share. `few` and `sort` change under `lock` until all threads have combined.
struct GlobalRows : public duckdb::GlobalSinkState {
  duckdb::mutex lock;
  KeptRows few;
  duckdb::unique_ptr<duckdb::Sort> sort;  // Null: `few` has all rows.
  duckdb::unique_ptr<duckdb::GlobalSinkState> many;
};

struct SortedRows : public duckdb::GlobalSourceState {
  idx_t MaxThreads() override { return many ? many->MaxThreads() : 1; }

  duckdb::unique_ptr<duckdb::GlobalSourceState> many;
  duckdb::SelectionVector order;
  bool given = false;
};

struct SortedPart : public duckdb::LocalSourceState {
  duckdb::unique_ptr<duckdb::LocalSourceState> many;
};

class FewRowsOrder : public duckdb::PhysicalOrder {
 public:
  using PhysicalOrder::PhysicalOrder;

  duckdb::unique_ptr<duckdb::GlobalSinkState> GetGlobalSinkState(ClientContext&) const override {
    return duckdb::make_uniq<GlobalRows>();
  }
  duckdb::unique_ptr<duckdb::LocalSinkState> GetLocalSinkState(ExecutionContext&) const override {
    return duckdb::make_uniq<LocalRows>();
  }

  duckdb::SinkResultType Sink(ExecutionContext& context, DataChunk& chunk, duckdb::OperatorSinkInput& input) const override {
    auto& all = input.global_state.Cast<GlobalRows>();
    auto& mine = input.local_state.Cast<LocalRows>();
    if (!mine.many && mine.few.Fits(chunk)) {
      mine.few.Append(context.client, chunk);
      return duckdb::SinkResultType::NEED_MORE_INPUT;
    }
    HandOver(context, &all, &mine, &mine.few, input.interrupt_state);
    return SinkInto(context, chunk, all, &mine, input.interrupt_state);
  }

  duckdb::SinkCombineResultType Combine(ExecutionContext& context, duckdb::OperatorSinkCombineInput& input) const override {
    auto& all = input.global_state.Cast<GlobalRows>();
    auto& mine = input.local_state.Cast<LocalRows>();
    duckdb::unique_lock<duckdb::mutex> lock(all.lock);
    DataChunk* few = mine.few.rows();
    if (!mine.many && !all.sort && (few == nullptr || all.few.Fits(*few))) {
      if (few != nullptr) all.few.Append(context.client, *few);
      return duckdb::SinkCombineResultType::FINISHED;
    }
    StartSort(context.client, &all);  // Before the lock is let go: nobody may add to `few` once its rows are taken.
    KeptRows others;
    std::swap(others, all.few);
    lock.unlock();
    HandOver(context, &all, &mine, &mine.few, input.interrupt_state);
    HandOver(context, &all, &mine, &others, input.interrupt_state);
    duckdb::OperatorSinkCombineInput sorting{*all.many, *mine.many, input.interrupt_state};
    return all.sort->Combine(context, sorting);
  }

  duckdb::SinkFinalizeType Finalize(duckdb::Pipeline&, duckdb::Event&, ClientContext& context,
                                    duckdb::OperatorSinkFinalizeInput& input) const override {
    auto& all = input.global_state.Cast<GlobalRows>();
    if (!all.sort) return duckdb::SinkFinalizeType::READY;
    duckdb::OperatorSinkFinalizeInput sorting{*all.many, input.interrupt_state};
    return all.sort->Finalize(context, sorting);
  }

  duckdb::ProgressData GetSinkProgress(ClientContext& context, duckdb::GlobalSinkState& state,
                                       const duckdb::ProgressData source) const override {
    auto& all = state.Cast<GlobalRows>();
    duckdb::lock_guard<duckdb::mutex> lock(all.lock);
    return all.sort ? all.sort->GetSinkProgress(context, *all.many, source) : source;
  }

  duckdb::unique_ptr<duckdb::GlobalSourceState> GetGlobalSourceState(ClientContext& context) const override {
    const auto& all = sink_state->Cast<GlobalRows>();
    auto sorted = duckdb::make_uniq<SortedRows>();
    if (all.sort) {
      sorted->many = all.sort->GetGlobalSourceState(context, *all.many);
    } else if (all.few.size() > 0) {
      sorted->order = Order(context, *all.few.rows());
    }
    return sorted;
  }

  duckdb::unique_ptr<duckdb::LocalSourceState> GetLocalSourceState(ExecutionContext& context,
                                                                   duckdb::GlobalSourceState& state) const override {
    auto part = duckdb::make_uniq<SortedPart>();
    const auto& all = sink_state->Cast<GlobalRows>();
    if (all.sort) part->many = all.sort->GetLocalSourceState(context, *state.Cast<SortedRows>().many);
    return part;
  }

  duckdb::SourceResultType GetDataInternal(ExecutionContext& context, DataChunk& chunk,
                                           duckdb::OperatorSourceInput& input) const override {
    auto& sorted = input.global_state.Cast<SortedRows>();
    const auto& all = sink_state->Cast<GlobalRows>();
    if (all.sort) {
      duckdb::OperatorSourceInput sorting{*sorted.many, *input.local_state.Cast<SortedPart>().many, input.interrupt_state};
      return all.sort->GetData(context, chunk, sorting);
    }
    if (sorted.given || all.few.size() == 0) return duckdb::SourceResultType::FINISHED;
    sorted.given = true;
    for (idx_t i = 0; i < projections.size(); ++i) {
      chunk.data[i].Slice(all.few.rows()->data[projections[i]], sorted.order, all.few.size());
    }
    chunk.SetCardinality(all.few.size());
    return duckdb::SourceResultType::HAVE_MORE_OUTPUT;
  }

  duckdb::OperatorPartitionData GetPartitionData(ExecutionContext& context, DataChunk& chunk, duckdb::GlobalSourceState& state,
                                                 duckdb::LocalSourceState& part,
                                                 const duckdb::OperatorPartitionInfo& info) const override {
    const auto& all = sink_state->Cast<GlobalRows>();
    if (!all.sort) return duckdb::OperatorPartitionData(0);
    return all.sort->GetPartitionData(context, chunk, *state.Cast<SortedRows>().many, *part.Cast<SortedPart>().many, info);
  }

  duckdb::ProgressData GetProgress(ClientContext& context, duckdb::GlobalSourceState& state) const override {
    const auto& all = sink_state->Cast<GlobalRows>();
    if (all.sort) return all.sort->GetProgress(context, *state.Cast<SortedRows>().many);
    duckdb::ProgressData progress;
    progress.done = state.Cast<SortedRows>().given ? 1 : 0;
    progress.total = 1;
    return progress;
  }

 private:
  /// To be called with `all->lock` held.
  void StartSort(ClientContext& context, GlobalRows* all) const {
    if (all->sort) return;
    auto sort = duckdb::make_uniq<duckdb::Sort>(context, orders, children[0].get().types, projections, is_index_sort);
    all->many = sort->GetGlobalSinkState(context);
    all->sort = std::move(sort);
  }

  /// From here on the thread's rows go to DuckDB's sort, `rows` first.
  void HandOver(ExecutionContext& context, GlobalRows* all, LocalRows* mine, KeptRows* rows,
                duckdb::InterruptState& interrupt) const {
    if (!mine->many) {
      {
        duckdb::lock_guard<duckdb::mutex> lock(all->lock);
        StartSort(context.client, all);
      }
      mine->many = all->sort->GetLocalSinkState(context);
    }
    if (rows->size() == 0) return;
    SinkInto(context, *rows->rows(), *all, mine, interrupt);
    rows->Clear();
  }

  static duckdb::SinkResultType SinkInto(ExecutionContext& context, DataChunk& chunk, GlobalRows& all, LocalRows* mine,
                                         duckdb::InterruptState& interrupt) {
    duckdb::OperatorSinkInput sorting{*all.many, *mine->many, interrupt};
    return all.sort->Sink(context, chunk, sorting);
  }

  /// The rows' order, by the same keys as DuckDB's sort; rows with equal keys stay as they came.
  duckdb::SelectionVector Order(ClientContext& context, DataChunk& rows) const {
    duckdb::ExpressionExecutor executor(context);
    duckdb::vector<LogicalType> types;
    duckdb::vector<duckdb::OrderModifiers> modifiers;
    for (const BoundOrderByNode& order : orders) {
      executor.AddExpression(*order.expression);
      types.push_back(order.expression->return_type);
      modifiers.emplace_back(order.type, order.null_order);
    }
    DataChunk keys;
    keys.Initialize(context, types, rows.size());
    executor.Execute(rows, keys);
    duckdb::Vector encoded(LogicalType::BLOB, rows.size());
    duckdb::CreateSortKeyHelpers::CreateSortKey(keys, modifiers, encoded);
    encoded.Flatten(rows.size());
    const auto* texts = duckdb::FlatVector::GetData<duckdb::string_t>(encoded);
    duckdb::SelectionVector order(rows.size());
    std::iota(order.data(), order.data() + rows.size(), 0);
    std::stable_sort(order.data(), order.data() + rows.size(), [&](auto left, auto right) { return texts[left] < texts[right]; });
    return order;
  }
};

class LogicalFewRowsOrder : public duckdb::LogicalExtensionOperator {
 public:
  /// Takes the place, the keys and the child of `order`.
  explicit LogicalFewRowsOrder(duckdb::LogicalOrder* order)
      : keys_(std::move(order->orders)), projections_(std::move(order->projection_map)) {
    for (BoundOrderByNode& key : keys_) expressions.push_back(std::move(key.expression));  // Where DuckDB resolves columns.
    children = std::move(order->children);
    types = order->types;
    if (order->has_estimated_cardinality) SetEstimatedCardinality(order->estimated_cardinality);
  }

  duckdb::PhysicalOperator& CreatePlan(ClientContext&, duckdb::PhysicalPlanGenerator& planner) override {
    auto& child = planner.CreatePlan(*children[0]);
    for (idx_t i = 0; i < keys_.size(); ++i) keys_[i].expression = std::move(expressions[i]);
    if (projections_.empty()) {
      projections_.resize(child.types.size());
      std::iota(projections_.begin(), projections_.end(), 0);
    }
    auto& order = planner.Make<FewRowsOrder>(types, std::move(keys_), std::move(projections_), estimated_cardinality);
    order.children.push_back(child);
    return order;
  }

  duckdb::vector<duckdb::ColumnBinding> GetColumnBindings() override {
    return MapBindings(children[0]->GetColumnBindings(), projections_);
  }
  std::string GetName() const override { return "ORDER_BY"; }
  std::string GetExtensionName() const override { return "sheaf"; }

 protected:
  void ResolveTypes() override { types = MapTypes(children[0]->types, projections_); }

 private:
  duckdb::vector<BoundOrderByNode> keys_;  // Their expressions are in `expressions`.
  duckdb::vector<idx_t> projections_;      // Empty: all columns.
};

}  // namespace

void ReplaceOrders(duckdb::unique_ptr<LogicalOperator>* plan) {
  for (auto& child : (*plan)->children) ReplaceOrders(&child);
  if ((*plan)->type != duckdb::LogicalOperatorType::LOGICAL_ORDER_BY) return;
  auto& order = (*plan)->Cast<duckdb::LogicalOrder>();
  if (!order.orders.empty()) *plan = duckdb::make_uniq<LogicalFewRowsOrder>(&order);
}

}  // namespace sheaf::query
