#include <cstdio>
#include <memory>
#include <vector>

#include <unistd.h>
#include <CLI/App.hpp>

#include "client/otlp_exporter.h"
#include "command.h"
#include "credentials.h"
#include "decode/decoder.h"
#include "import_files.h"
#include "io/posix.h"
#include "store/database.h"

namespace sheaf::cli {
namespace {

constexpr const char* kDefaultOtlpUrl = "http://127.0.0.1:4318";

struct ImportOptions {
  std::vector<std::string> files;
  std::string table, data, url;
  bool json = false;
};

/// What was taken, over all files.
struct ImportTotals {
  int64_t requests = 0, records = 0, rejected = 0;
  std::string rejected_reason;
};

/// Takes one request after the other.
class Destination {
 public:
  virtual ~Destination() = default;
  virtual Status Take(wire::OtlpRequest kind, const std::string& request, ImportTotals* totals) = 0;
  virtual Status Close() = 0;
};

class DirectoryDestination : public Destination {
 public:
  Status Open(const std::string& directory) {
    store::Options options;
    options.directory = directory;
    SHEAF_ASSIGN_OR_RETURN(database_, store::Database::Open(io::PosixFileSystem(), io::SystemClock(), options));
    return Status::OK();
  }

  Status Take(wire::OtlpRequest kind, const std::string& request, ImportTotals* totals) override {
    const auto bytes = std::as_bytes(std::span(request.data(), request.size()));
    SHEAF_ASSIGN_OR_RETURN(const decode::DecodeResult decoded, kind == wire::OtlpRequest::kTraces ? decoder_.Traces(bytes)
                                                               : kind == wire::OtlpRequest::kLogs ? decoder_.Logs(bytes)
                                                                                                  : decoder_.Metrics(bytes));
    totals->records += decoded.accepted;
    totals->rejected += decoded.rejected;
    if (totals->rejected_reason.empty()) totals->rejected_reason = decoded.rejected_reason;
    if (decoded.batches.empty()) return Status::OK();
    std::vector<store::TableRows> rows;
    for (const decode::TableBatch& batch : decoded.batches) {
      SHEAF_ASSIGN_OR_RETURN(const auto table, database_->FindTable("otel", decode::SignalTable(batch.signal)));
      rows.push_back({table->id, batch.batch});
    }
    return database_->Append(rows).status();
  }

  Status Close() override { return database_->Close(); }

 private:
  decode::Decoder decoder_;
  std::unique_ptr<store::Database> database_;
};

class ServerDestination : public Destination {
 public:
  Status Open(const std::string& text) {
    SHEAF_ASSIGN_OR_RETURN(const client::Url url, client::ParseUrl(text));
    client::HttpClientOptions http;
    http.cancelled = [] { return Interrupted(); };
    SHEAF_ASSIGN_OR_RETURN(http.authorization, Authorization());
    SHEAF_ASSIGN_OR_RETURN(auto client, client::HttpClient::Make(url, http));
    exporter_ = std::make_unique<client::OtlpExporter>(std::move(client));
    return Status::OK();
  }

  Status Take(wire::OtlpRequest kind, const std::string& request, ImportTotals* totals) override {
    const auto signal = kind == wire::OtlpRequest::kTraces ? client::OtlpSignal::kTraces
                        : kind == wire::OtlpRequest::kLogs ? client::OtlpSignal::kLogs
                                                           : client::OtlpSignal::kMetrics;
    SHEAF_ASSIGN_OR_RETURN(const client::ExportResult result, exporter_->Export(signal, request));
    totals->records = -1;  // The server tells what it refused, not what it took.
    totals->rejected += result.rejected;
    if (totals->rejected_reason.empty()) totals->rejected_reason = result.message;
    return Status::OK();
  }

  Status Close() override { return Status::OK(); }

 private:
  std::unique_ptr<client::OtlpExporter> exporter_;
};

Result<std::unique_ptr<Destination>> OpenDestination(const ImportOptions& options) {
  if (!options.data.empty()) {
    auto directory = std::make_unique<DirectoryDestination>();
    SHEAF_RETURN_NOT_OK(directory->Open(options.data));
    return directory;
  }
  auto server = std::make_unique<ServerDestination>();
  SHEAF_RETURN_NOT_OK(server->Open(options.url.empty() ? kDefaultOtlpUrl : options.url));
  return server;
}

Status ImportAll(const ImportOptions& options, Destination* destination, ImportTotals* totals) {
  size_t done = 0;
  for (const std::string& path : options.files) {
    const Status status = ReadOtlpFile(path, options.table, [&](wire::OtlpRequest kind, const std::string& request) -> Status {
      if (Interrupted()) return MakeError(ErrorKind::kCancelled, "interrupted; what was imported before stays");
      ++totals->requests;
      return destination->Take(kind, request, totals);
    });
    if (!status.ok()) return WithContext(status, path);
    if (!options.json && isatty(STDERR_FILENO) != 0) std::fprintf(stderr, "\r%zu of %zu files", ++done, options.files.size());
  }
  if (done > 0) std::fprintf(stderr, "\n");
  return Status::OK();
}

int RunImport(const ImportOptions& options) {
  CatchInterrupts();
  auto destination = OpenDestination(options);
  if (!destination.ok()) return Fail(destination.status());
  ImportTotals totals;
  Status status = ImportAll(options, destination->get(), &totals);
  const Status closed = (*destination)->Close();
  if (status.ok()) status = closed;
  if (!status.ok() && totals.requests == 0) return Fail(status);  // Nothing was imported: the error says it all.
  if (options.json) {
    std::printf("{\"files\": %zu, \"requests\": %lld, \"rejected\": %lld}\n", options.files.size(),
                static_cast<long long>(totals.requests), static_cast<long long>(totals.rejected));
  } else {
    const std::string records = totals.records >= 0 ? fmt::format(" with {} records", totals.records) : "";
    std::printf("imported %lld requests%s", static_cast<long long>(totals.requests), records.c_str());
    if (totals.rejected > 0)
      std::printf(", %lld rejected: %s", static_cast<long long>(totals.rejected), totals.rejected_reason.c_str());
    std::printf("\n");
  }
  return status.ok() ? kDone : Fail(status);
}

}  // namespace

void AddImport(CLI::App* app, Action* chosen) {
  auto options = std::make_shared<ImportOptions>();
  CLI::App* command = app->add_subcommand("import", "Takes in OTLP files (.pb, .json, .jsonl) of traces, logs or metrics");
  command->add_option("FILE", options->files, "Export requests; .jsonl has one a line, as the Collector's file exporter writes")
      ->required();
  command->add_option("--table", options->table, "traces, logs or metrics; .json tells by itself")->type_name("T");
  auto* data = command->add_option("--data", options->data, "Directory to import into; no server may hold it")->type_name("DIR");
  command->add_option("--url", options->url, std::string("OTLP/HTTP address of a server (default ") + kDefaultOtlpUrl + ")")
      ->type_name("URL")
      ->excludes(data);
  command->add_flag("--json", options->json, "Prints the outcome as JSON");
  command->callback([chosen, options] { *chosen = [options] { return RunImport(*options); }; });
}

}  // namespace sheaf::cli
