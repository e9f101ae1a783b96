#include <chrono>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>

#include <unistd.h>
#include <CLI/App.hpp>

#include "command.h"
#include "output.h"
#include "query_source.h"
#include "sql_prompt.h"
#include "statements.h"

namespace sheaf::cli {
namespace {

struct SqlOptions {
  SourceOptions source;
  std::string format;
  std::string sql;
};

/// Runs the statements of a script in order; stops at the first that fails.
Status RunScript(QuerySource* source, query::Format format, const std::string& text) {
  Statements statements = SplitStatements(text);
  if (HasSql(statements.rest)) statements.complete.push_back(statements.rest);
  for (const std::string& statement : statements.complete) {
    SHEAF_ASSIGN_OR_RETURN(const auto rows, source->Start(statement));
    SHEAF_RETURN_NOT_OK(PrintRows(rows.get(), format).status());
  }
  return Status::OK();
}

int RunSql(const SqlOptions& options) {
  CatchInterrupts();
  const auto format = query::ParseFormat(options.format.empty() ? "table" : options.format);
  if (!format.ok()) return Misused(format.status().message());
  const bool prompt = options.sql.empty() && isatty(STDIN_FILENO) != 0;
  std::string script = options.sql;
  if (script.empty() && !prompt) script.assign(std::istreambuf_iterator<char>(std::cin), {});

  auto source = QuerySource::Open(options.source);
  if (!source.ok()) return Fail(source.status());
  if (prompt) return RunPrompt(source->get(), *format);
  Status status = RunScript(source->get(), *format, script);
  const Status closed = (*source)->Close();
  if (status.ok()) status = closed;
  return status.ok() ? kDone : Fail(status);
}

}  // namespace

void AddSql(CLI::App* app, Action* chosen) {
  auto options = std::make_shared<SqlOptions>();
  options->source.writes = true;
  CLI::App* command = app->add_subcommand("sql", "Runs SQL from the argument, standard input or a prompt");
  AddSourceFlags(command, &options->source);
  AddFormatFlags(command, &options->format);
  command->add_option("SQL", options->sql, "Statements, separated by ';'; without it standard input is read");
  command->callback([chosen, options] { *chosen = [options] { return RunSql(*options); }; });
}

}  // namespace sheaf::cli
