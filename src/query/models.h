/// The views and macros of models/*/*.sql, embedded at build time.

#pragma once

#include <string_view>
#include <vector>

namespace sheaf::query {

struct Model {
  std::string_view path;  // "otel/find_trace.sql", for errors.
  std::string_view sql;   // CREATE VIEW and CREATE MACRO statements.
};

const std::vector<Model>& Models();

}  // namespace sheaf::query
