/// What a statement does, in the terms of roles. What it does at all shows before it is planned; what it reads, writes and defines shows
/// where our catalog is asked for it, so that nothing gets by: names in views, macros and metadata are looked up there as well.

#pragma once

#include <string_view>

#include "access/identity.h"
#include "query/duckdb_headers.h"

namespace sheaf::query {

/// What a parsed statement does; of EXPLAIN, what it explains. Kinds that are not known are kAdminister.
access::Action ActionOf(const duckdb::SQLStatement& statement);

/// Before statements are planned: Denied where `identity` may do what one of them does in no schema. Null: everything is allowed.
Status CheckKinds(const access::Identity* identity, const duckdb::vector<duckdb::unique_ptr<duckdb::SQLStatement>>& statements);
/// The same of statements about materialised views. They read for whoever made them, so that takes the whole database.
Status CheckViewStatement(const access::Identity* identity);

/// Whether whoever runs the statement of `context` may do `action` in `schema`; empty: in the whole database.
bool HasRight(duckdb::ClientContext& context, access::Action action, std::string_view schema = {});
/// Throws duckdb::PermissionException, with the message of access::Allow(), where not.
void RequireRight(duckdb::ClientContext& context, access::Action action, std::string_view schema = {});

}  // namespace sheaf::query
