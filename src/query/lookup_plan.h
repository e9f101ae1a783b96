/// Plans look-ups without most of DuckDB's passes.
///
/// DuckDB runs some thirty passes over every plan. Over 27 columns they take longer than it takes to read the ten rows that an id
/// names, and what most of them save are rows. A look-up here is one scan that an id narrows to few rows (lookup_hint.h) with nothing
/// but filters, projections, ORDER BY and LIMIT above it, explained or not.

#pragma once

#include "query/duckdb_headers.h"

namespace sheaf::query {

/// To be called before DuckDB's passes. Where `plan` is a look-up, runs those that decide what is read and hides the plan from the
/// others; leaves every other plan as it is.
void PlanLookUp(duckdb::Optimizer* optimizer, duckdb::unique_ptr<duckdb::LogicalOperator>* plan);

/// To be called after DuckDB's passes: shows a plan that PlanLookUp() hid.
void ShowLookUp(duckdb::unique_ptr<duckdb::LogicalOperator>* plan);

/// To be called last: whether the plan reads few rows of one table, by an id or by key, and joins them with nothing.
bool ReadsFewRows(const duckdb::LogicalOperator& plan);

}  // namespace sheaf::query
