#include <cstdio>
#include <memory>

#include <CLI/App.hpp>

#include "command.h"
#include "output.h"
#include "query_source.h"

namespace sheaf::cli {
namespace {

struct ExportOptions {
  SourceOptions source;
  std::string sql, path, format;
  bool json = false;
};

/// By the file's name, unless --format says it.
Result<query::Format> FormatOf(const ExportOptions& options) {
  if (!options.format.empty()) return query::ParseFormat(options.format);
  const size_t dot = options.path.rfind('.');
  const std::string suffix = dot == std::string::npos ? "" : options.path.substr(dot);
  if (suffix == ".arrow" || suffix == ".arrows") return query::Format::kArrow;
  if (suffix == ".parquet") return query::Format::kParquet;
  if (suffix == ".csv") return query::Format::kCsv;
  if (suffix == ".ndjson" || suffix == ".jsonl") return query::Format::kNdjson;
  if (suffix == ".json") return query::Format::kJson;
  if (suffix == ".pb")
    return MakeError(ErrorKind::kUnsupported, "writing OTLP (.pb) is not there yet; .arrow and .parquet keep every value");
  return MakeError(ErrorKind::kInvalid,
                   "'{}' does not tell the format: end it in .arrow, .parquet, .csv, .ndjson or .json, or say --format",
                   options.path);
}

int RunExport(const ExportOptions& options) {
  CatchInterrupts();
  const auto format = FormatOf(options);
  if (!format.ok())
    return KindOf(format.status()) == ErrorKind::kInvalid ? Misused(format.status().message()) : Fail(format.status());
  auto source = QuerySource::Open(options.source);
  if (!source.ok()) return Fail(source.status());
  const Result<int64_t> written = [&]() -> Result<int64_t> {
    SHEAF_ASSIGN_OR_RETURN(const auto rows, (*source)->Start(options.sql));
    return WriteRows(rows.get(), *format, options.path);
  }();
  const Status closed = (*source)->Close();
  if (!written.ok()) return Fail(written.status());
  if (!closed.ok()) return Fail(closed);
  std::printf(options.json ? "{\"rows\": %lld}\n" : "wrote %lld rows\n", static_cast<long long>(*written));
  return kDone;
}

}  // namespace

void AddExport(CLI::App* app, Action* chosen) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App* command = app->add_subcommand("export", "Writes the result of a statement to a file");
  AddSourceFlags(command, &options->source);
  command->add_option("SQL", options->sql, "One statement")->required();
  command->add_option("-o,--output", options->path, "File to write; it appears when it is whole")->required()->type_name("FILE");
  command->add_option("--format", options->format, "arrow, parquet, csv, ndjson or json (default: by the file's name)")
      ->type_name("FORMAT");
  command->add_flag("--json", options->json, "Prints the outcome as JSON");
  command->callback([chosen, options] { *chosen = [options] { return RunExport(*options); }; });
}

}  // namespace sheaf::cli
