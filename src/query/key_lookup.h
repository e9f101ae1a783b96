/// Scans whose filters name whole keys of a keyed table: the rows are looked up one by one, and no source is scanned.

#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "core/status.h"
#include "query/granule_plan.h"
#include "query/scan.h"
#include "query/store_transaction.h"

namespace sheaf::query {

/// The rows that were found, each a granule of its own.
struct FoundRows {
  std::shared_ptr<const columns::GranuleSource> source;
  std::vector<store::KeyedRow> rows;   // Of each granule.
};

/// Looks the rows up in the transaction's snapshot; nothing where the filters do not bind every column of the key to few values.
/// The filters must still be applied to what is found. Errors: the store's.
Result<std::optional<FoundRows>> FindByKey(duckdb::ClientContext& context, const ScanBind& bind, const std::vector<PushedFilter>& filters);

/// Whether a scan that is planned so will look rows up by key.
bool BindsKey(const duckdb::LogicalGet& get);

/// How EXPLAIN ANALYZE calls the way in which such a scan reads.
const char* AccessName(const ScanBind& bind, const std::vector<PushedFilter>& filters, bool by_key);

}  // namespace sheaf::query
