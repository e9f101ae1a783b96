#include "query/view_state.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <string_view>
#include <utility>

#include "duckdb/catalog/catalog_entry/aggregate_function_catalog_entry.hpp"
#include "duckdb/common/row_operations/row_operations.hpp"
#include "duckdb/common/types/row/tuple_data_collection.hpp"
#include "duckdb/execution/aggregate_hashtable.hpp"
#include "duckdb/function/function_binder.hpp"
#include "duckdb/planner/expression/bound_aggregate_expression.hpp"

namespace sheaf::query {

namespace {

using duckdb::BoundAggregateExpression;
using duckdb::ClientContext;
using duckdb::DataChunk;
using duckdb::idx_t;
using duckdb::LogicalType;

duckdb::unique_ptr<BoundAggregateExpression> BindAggregate(ClientContext& context, const ViewAggregate& wanted,
                                                           const duckdb::vector<LogicalType>& input) {
  duckdb::vector<duckdb::unique_ptr<duckdb::Expression>> children;
  for (const auto& argument : wanted.arguments) {
    if (argument.column) {
      children.push_back(duckdb::make_uniq<duckdb::BoundReferenceExpression>(input.at(*argument.column), *argument.column));
    } else {
      children.push_back(duckdb::make_uniq<duckdb::BoundConstantExpression>(argument.constant));
    }
  }
  auto& entry = duckdb::Catalog::GetEntry<duckdb::AggregateFunctionCatalogEntry>(context, SYSTEM_CATALOG, DEFAULT_SCHEMA, wanted.function);
  duckdb::FunctionBinder binder(context);
  duckdb::ErrorData error;
  const auto best = binder.BindFunction(entry.name, entry.functions, children, error);
  if (!best.IsValid()) error.Throw();
  return binder.BindAggregateFunction(entry.functions.GetFunctionByOffset(best.GetIndex()), std::move(children));
}

/// Whether the result can be taken from the state itself, again and again. max(x, n), say, keeps the n largest as a heap and sorts that for
/// the result: it is no heap any more then. Others are taken from a copy.
bool IsUnharmedByResults(const ViewAggregate& aggregate) {
  constexpr std::array<std::string_view, 5> kAlways = {"count_star", "count", "sum", "avg", "histogram"};
  const std::string& name = aggregate.function;
  if (std::find(kAlways.begin(), kAlways.end(), name) != kAlways.end()) return true;
  const size_t arguments = aggregate.arguments.size();
  return ((name == "min" || name == "max") && arguments == 1) || ((name == "arg_min" || name == "arg_max") && arguments == 2);
}

}  // namespace

ViewState::ViewState(ClientContext& context, const ViewPlan& plan, const duckdb::vector<LogicalType>& input)
    : columns_(plan.groups), window_(plan.window), all_(plan.aggregates.size() + 1) {
  std::iota(all_.begin(), all_.end(), idx_t{0});
  group_types_.assign(input.begin(), input.begin() + static_cast<int64_t>(columns_));
  if (columns_ == 0) group_types_.push_back(LogicalType::TINYINT);  // The table wants a group: it is always 0.
  types_.assign(input.begin(), input.begin() + static_cast<int64_t>(columns_));
  arguments_ = std::make_unique<duckdb::ExpressionExecutor>(context);
  duckdb::vector<LogicalType> payload, whole = input;
  whole.push_back(LogicalType::BIGINT);  // The LSN.
  input_.InitializeEmpty(whole);
  auto aggregates = plan.aggregates;
  aggregates.push_back({.function = "max", .arguments = {{.column = input.size()}}});
  std::vector<BoundAggregateExpression*> raw;
  for (const auto& wanted : aggregates) {
    auto bound = BindAggregate(context, wanted, whole);
    for (const auto& child : bound->children) {
      payload.push_back(child->return_type);
      arguments_->AddExpression(*child);
    }
    types_.push_back(bound->return_type);
    unharmed_.push_back(IsUnharmedByResults(wanted));
    codecs_.push_back(StateCodec::Make(*bound, wanted, codecs_.size()));
    raw.push_back(bound.get());
    aggregates_.push_back(std::move(bound));
  }
  saved_by_result_.assign(aggregates_.size(), false);
  saved_by_result_[0] = true;  // How many rows.
  for (const auto& codec : codecs_) {
    if (!codec) continue;
    for (const size_t result : codec->results()) saved_by_result_[result] = true;
  }
  row_types_ = types_;
  if (window_ && window_->session) row_types_[window_->group] = types_[columns_ + window_->session->first];
  auto& allocator = duckdb::Allocator::DefaultAllocator();
  groups_.InitializeEmpty(group_types_);
  if (!payload.empty()) payload_.Initialize(allocator, payload);
  table_ = std::make_unique<duckdb::GroupedAggregateHashTable>(context, allocator, group_types_, payload,
                                                               duckdb::vector<BoundAggregateExpression*>(raw.begin(), raw.end()));
  if (columns_ > 0) return;
  groups_.data[0].Reference(duckdb::Value::TINYINT(0));  // There is one row, even of nothing.
  groups_.SetCardinality(1);
  duckdb::Vector addresses(LogicalType::POINTER);
  table_->FindOrCreateGroups(groups_, addresses);
}

ViewState::~ViewState() = default;

void ViewState::ReferGroups(DataChunk& input) {
  for (size_t i = 0; i < columns_; ++i) groups_.data[i].Reference(input.data[i]);
  if (columns_ == 0) groups_.data[0].Reference(duckdb::Value::TINYINT(0));
  groups_.SetCardinality(input.size());
}

void ViewState::Add(DataChunk& input, Lsn lsn) {
  if (input.size() == 0) return;
  ReferGroups(input);
  for (size_t i = 0; i < input.ColumnCount(); ++i) input_.data[i].Reference(input.data[i]);
  input_.data.back().Reference(duckdb::Value::BIGINT(static_cast<int64_t>(lsn.value)));
  input_.SetCardinality(input.size());
  payload_.Reset();
  arguments_->Execute(input_, payload_);
  payload_.SetCardinality(input.size());
  table_->AddChunk(groups_, payload_, all_);
}

void ViewState::Forget(DataChunk& groups) {
  if (groups.size() == 0) return;
  ReferGroups(groups);
  duckdb::Vector addresses(LogicalType::POINTER);
  table_->FindOrCreateGroups(groups_, addresses);
  addresses.Flatten(groups.size());
  auto layout = table_->GetLayoutPtr();
  duckdb::RowOperationsState state(*table_->GetAggregateAllocator());
  duckdb::Vector destroyed(LogicalType::POINTER);  // DestroyStates() moves the addresses that it is given.
  duckdb::VectorOperations::Copy(addresses, destroyed, groups.size(), 0, 0);
  duckdb::RowOperations::DestroyStates(state, *layout, destroyed, groups.size());
  duckdb::RowOperations::InitializeStates(*layout, addresses, *duckdb::FlatVector::IncrementalSelectionVector(), groups.size());
}

void ViewState::Select(Which which, DataChunk* input) {
  if (input->size() == 0) return;
  ReferGroups(*input);
  DataChunk kept;
  kept.Initialize(duckdb::Allocator::DefaultAllocator(), {types_.begin() + static_cast<int64_t>(columns_), types_.end()});
  table_->FetchAggregates(groups_, kept);
  kept.data[0].Flatten(input->size());
  const auto* counts = duckdb::FlatVector::GetData<int64_t>(kept.data[0]);
  duckdb::SelectionVector chosen(input->size());
  idx_t count = 0;
  for (idx_t row = 0; row < input->size(); ++row) {
    if ((counts[row] > 0) == (which == Which::kKnown)) chosen.set_index(count++, row);
  }
  if (count < input->size()) input->Slice(chosen, count);
}

size_t ViewState::groups() const { return table_->Count(); }

ViewState::Cursor::Cursor(const ViewState& of) : of_(of) { groups_.Initialize(duckdb::Allocator::DefaultAllocator(), of.group_types_); }

ViewState::Cursor::~Cursor() = default;

DataChunk& ViewState::Cursor::Next() {
  // The table's own scan would take the results from the states themselves, which some of them do not survive.
  auto& parts = const_cast<duckdb::PartitionedTupleData&>(of_.table_->GetPartitionedData()).GetPartitions();
  groups_.Reset();
  while (part_ < parts.size()) {
    if (!scan_) {
      duckdb::vector<duckdb::column_t> columns(of_.group_types_.size());
      std::iota(columns.begin(), columns.end(), duckdb::column_t{0});
      scan_ = std::make_unique<duckdb::TupleDataScanState>();
      parts[part_]->InitializeScan(*scan_, columns, duckdb::TupleDataPinProperties::UNPIN_AFTER_DONE);
    }
    if (parts[part_]->Scan(*scan_, groups_)) return groups_;
    scan_ = nullptr;
    ++part_;
  }
  return groups_;
}

duckdb::Vector& ViewState::Cursor::rows() { return scan_->chunk_state.row_locations; }

void ViewState::KeepLiving(duckdb::Vector& counts, DataChunk* whole) {
  duckdb::SelectionVector living(whole->size());
  idx_t count = 0;
  const auto* values = duckdb::FlatVector::GetData<int64_t>(counts);
  for (idx_t row = 0; row < whole->size(); ++row) {
    if (values[row] > 0) living.set_index(count++, row);
  }
  if (count < whole->size()) whole->Slice(living, count);
}

std::unique_ptr<duckdb::ColumnDataCollection> ViewState::Rows() {
  return window_ && window_->session ? SessionRows() : GroupRows(/*known_only=*/false);
}

std::unique_ptr<duckdb::ColumnDataCollection> ViewState::GroupRows(bool known_only) {
  auto& allocator = duckdb::Allocator::DefaultAllocator();
  auto rows = std::make_unique<duckdb::ColumnDataCollection>(allocator, types_);
  DataChunk kept, whole;
  kept.Initialize(allocator, {types_.begin() + static_cast<int64_t>(columns_), types_.end()});
  whole.InitializeEmpty(types_);
  Cursor cursor(*this);
  while (true) {
    DataChunk& groups = cursor.Next();
    if (groups.size() == 0) return rows;
    duckdb::ArenaAllocator arena(allocator);  // Of what is long in the results.
    Results(cursor.rows(), groups.size(), &arena, &kept);
    for (size_t i = 0; i < columns_; ++i) whole.data[i].Reference(groups.data[i]);
    for (size_t i = 0; i < kept.ColumnCount(); ++i) whole.data[columns_ + i].Reference(kept.data[i]);
    whole.SetCardinality(groups.size());
    if (columns_ > 0 || known_only) KeepLiving(kept.data[0], &whole);  // Groups whose rows are gone stay in the table.
    rows->Append(whole);
    kept.Reset();
  }
}

std::optional<size_t> ViewState::unsaved() const {
  const auto first = std::find(codecs_.begin(), codecs_.end(), nullptr);
  return first == codecs_.end() ? std::nullopt : std::optional(static_cast<size_t>(first - codecs_.begin()));
}

duckdb::vector<LogicalType> ViewState::SavedTypes() const {
  duckdb::vector<LogicalType> types(types_.begin(), types_.begin() + static_cast<int64_t>(columns_));
  for (const auto& codec : codecs_) types.push_back(codec->type());
  return types;
}

bool ViewState::SaveNext(Cursor* cursor, DataChunk* saved) {
  DataChunk& groups = cursor->Next();
  if (groups.size() == 0) return false;
  auto& allocator = duckdb::Allocator::DefaultAllocator();
  duckdb::ArenaAllocator arena(allocator);
  DataChunk results;
  results.Initialize(allocator, {types_.begin() + static_cast<int64_t>(columns_), types_.end()});
  Results(cursor->rows(), groups.size(), &arena, &results, saved_by_result_);  // Some may throw: a deviation that is not finite.
  saved->Destroy();
  saved->Initialize(allocator, SavedTypes());
  for (size_t i = 0; i < columns_; ++i) duckdb::VectorOperations::Copy(groups.data[i], saved->data[i], groups.size(), 0, 0);
  ForEachAggregate(cursor->rows(), groups.size(), &arena, [&](size_t i, const StateCodec::States& states) {
    codecs_[i]->Save(states, results, &saved->data[columns_ + i]);
  });
  saved->SetCardinality(groups.size());
  KeepLiving(results.data[0], saved);
  return true;
}

void ViewState::Load(DataChunk& saved) {
  const auto wanted = SavedTypes();
  const auto types = saved.GetTypes();
  const bool alike = std::equal(types.begin(), types.end(), wanted.begin(), wanted.end(), [](const auto& is, const auto& should) {
    return is.InternalType() == should.InternalType();
  });
  if (!alike) throw duckdb::SerializationException("the saved rows of the view have other columns than its query has");
  if (saved.size() == 0) return;
  saved.Flatten();
  ReferGroups(saved);
  duckdb::Vector addresses(LogicalType::POINTER);
  table_->FindOrCreateGroups(groups_, addresses);
  addresses.Flatten(saved.size());
  ForEachAggregate(addresses, saved.size(), table_->GetAggregateAllocator().get(), [&](size_t i, const StateCodec::States& states) {
    codecs_[i]->Load(saved.data[columns_ + i], states);
  });
}

void ViewState::ForEachAggregate(duckdb::Vector& rows, idx_t count, duckdb::ArenaAllocator* arena,
                                 const std::function<void(size_t, const StateCodec::States&)>& visit) {
  const auto& layout = table_->GetLayout();
  const auto* addresses = duckdb::FlatVector::GetData<duckdb::data_ptr_t>(rows);
  duckdb::Vector states(LogicalType::POINTER);
  auto* places = duckdb::FlatVector::GetData<duckdb::data_ptr_t>(states);
  idx_t offset = layout.GetAggrOffset();
  const auto& aggregates = layout.GetAggregates();
  for (size_t i = 0; i < aggregates.size(); ++i) {
    for (idx_t row = 0; row < count; ++row) places[row] = addresses[row] + offset;
    offset += aggregates[i].payload_size;
    duckdb::AggregateInputData data(aggregates[i].GetFunctionData(), *arena);
    visit(i, {states, count, data});
  }
}

/// What the aggregates of rows of the table are now.
void ViewState::Results(duckdb::Vector& addresses, idx_t count, duckdb::ArenaAllocator* arena, DataChunk* results,
                        const std::vector<bool>& wanted) {
  ForEachAggregate(addresses, count, arena, [&](size_t i, const StateCodec::States& of) {
    if (!wanted.empty() && !wanted[i]) return;
    const auto& aggregate = table_->GetLayout().GetAggregates()[i];
    const auto& function = aggregate.function;
    duckdb::Vector& result = results->data[i];
    if (unharmed_[i]) {
      function.GetStateFinalizeCallback()(of.addresses, of.input, result, count, 0);
      return;
    }
    std::vector<duckdb::data_t> memory(aggregate.payload_size * count);  // Of copies.
    duckdb::Vector copies(LogicalType::POINTER);
    auto* copied = duckdb::FlatVector::GetData<duckdb::data_ptr_t>(copies);
    for (idx_t row = 0; row < count; ++row) {
      copied[row] = memory.data() + row * aggregate.payload_size;
      function.GetStateInitCallback()(function, copied[row]);
    }
    function.GetStateCombineCallback()(of.addresses, copies, of.input, count);
    function.GetStateFinalizeCallback()(copies, of.input, result, count, 0);
    if (const auto destroy = function.GetStateDestructorCallback()) destroy(copies, of.input, count);
  });
  results->SetCardinality(count);
}

}  // namespace sheaf::query
