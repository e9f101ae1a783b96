/// The operators of a plan that write: INSERT, UPDATE, DELETE, MERGE and CREATE TABLE AS on tables of the store.

#pragma once

#include "query/duckdb_headers.h"

namespace sheaf::query {

/// Each makes the operator of a bound statement, for the catalog's method of the same name. They throw duckdb::Exception
/// where the table does not allow the statement (an append table, a telemetry table, a changed key).
duckdb::PhysicalOperator& PlanStoreInsert(duckdb::ClientContext& context, duckdb::PhysicalPlanGenerator& planner,
                                          duckdb::LogicalInsert& op, duckdb::optional_ptr<duckdb::PhysicalOperator> plan);
duckdb::PhysicalOperator& PlanStoreUpdate(duckdb::ClientContext& context, duckdb::PhysicalPlanGenerator& planner,
                                          duckdb::LogicalUpdate& op, duckdb::PhysicalOperator& plan);
duckdb::PhysicalOperator& PlanStoreDelete(duckdb::ClientContext& context, duckdb::PhysicalPlanGenerator& planner,
                                          duckdb::LogicalDelete& op, duckdb::PhysicalOperator& plan);
duckdb::PhysicalOperator& PlanStoreMerge(duckdb::ClientContext& context, duckdb::PhysicalPlanGenerator& planner,
                                         duckdb::LogicalMergeInto& op, duckdb::PhysicalOperator& plan);
duckdb::PhysicalOperator& PlanStoreCreateTableAs(duckdb::ClientContext& context, duckdb::PhysicalPlanGenerator& planner,
                                                 duckdb::LogicalCreateTable& op, duckdb::PhysicalOperator& plan);

}  // namespace sheaf::query
