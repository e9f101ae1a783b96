#include <cstdio>
#include <memory>

#include <CLI/App.hpp>

#include "command.h"
#include "core/hex.h"
#include "query_source.h"
#include "trace_tree.h"

namespace sheaf::cli {
namespace {

struct TraceOptions {
  SourceOptions source;
  std::string trace_id;
  bool json = false;
};

Status ReadSpans(QuerySource* source, const std::string& trace_id, std::vector<TraceSpan>* spans) {
  // The id was checked to be hex digits: it can be put into the text.
  SHEAF_ASSIGN_OR_RETURN(const auto rows,
                         source->Start(fmt::format("SELECT {} FROM otel.traces WHERE trace_id = '{}'", kTraceColumns, trace_id)));
  for (;;) {
    SHEAF_ASSIGN_OR_RETURN(const auto batch, rows->Next());
    if (batch == nullptr) return Status::OK();
    SHEAF_RETURN_NOT_OK(AppendSpans(*batch, spans));
  }
}

int RunTrace(const TraceOptions& options) {
  const auto bytes = FromHex(options.trace_id);
  if (!bytes || bytes->size() != 16) return Misused("a trace id has 32 hex digits, such as 4bf92f3577b34da6a3ce929d0e0e4736");
  const std::string trace_id = ToHex(*bytes);
  CatchInterrupts();
  auto source = QuerySource::Open(options.source);
  if (!source.ok()) return Fail(source.status());
  std::vector<TraceSpan> spans;
  Status status = ReadSpans(source->get(), trace_id, &spans);
  const Status closed = (*source)->Close();
  if (status.ok()) status = closed;
  if (!status.ok()) return Fail(status);
  if (spans.empty()) return Fail(MakeError(ErrorKind::kNotFound, "there is no span of trace {}", trace_id));
  const std::string text = options.json ? TreeAsJson(trace_id, spans) : DrawTree(trace_id, spans);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return kDone;
}

}  // namespace

void AddTrace(CLI::App* app, Action* chosen) {
  auto options = std::make_shared<TraceOptions>();
  CLI::App* command = app->add_subcommand("trace", "Prints a trace as a tree with timings");
  AddSourceFlags(command, &options->source);
  command->add_flag("--json", options->json, "Prints the tree as JSON");
  command->add_option("ID", options->trace_id, "The trace id, 32 hex digits")->required();
  command->callback([chosen, options] { *chosen = [options] { return RunTrace(*options); }; });
}

}  // namespace sheaf::cli
