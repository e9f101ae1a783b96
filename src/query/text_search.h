/// Search of texts: the function contains_token(), and what texts a filter lets pass, so that a token index can say where there are some.

#pragma once

#include <optional>
#include <vector>

#include "columns/tokens.h"
#include "query/duckdb_headers.h"

namespace sheaf::query {

/// Registers `contains_token(text, token)`.
void RegisterTextSearch(duckdb::ExtensionLoader* loader);

/// A text passes only if it has all that one of these needs.
using TextAlternatives = std::vector<columns::TextNeeds>;

/// What the texts have that pass `filter`; nothing where it says too little. Never more than they have.
std::optional<TextAlternatives> ImpliedTexts(const duckdb::TableFilter& filter);

/// For a scan: whether it shall apply the filter `expression`, of which a token index of the column can make use.
bool TakesTextFilter(duckdb::ClientContext& context, const duckdb::LogicalGet& get, duckdb::Expression& expression);

}  // namespace sheaf::query
