#include "output.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <CLI/App.hpp>

namespace sheaf::cli {
namespace {

Result<int64_t> Pump(Rows* rows, query::Format format, const query::Sink& sink) {
  SHEAF_ASSIGN_OR_RETURN(auto writer, query::ResultWriter::Make(format, rows->schema(), sink));
  int64_t count = 0;
  for (;;) {
    SHEAF_ASSIGN_OR_RETURN(const auto batch, rows->Next());
    if (batch == nullptr) break;
    count += batch->num_rows();
    SHEAF_RETURN_NOT_OK(writer->Write(*batch));
  }
  SHEAF_RETURN_NOT_OK(writer->Finish());
  return count;
}

query::Sink SinkTo(std::FILE* file, std::string name) {
  return [file, name](std::string_view bytes) -> Status {
    if (std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size()) return Status::OK();
    return MakeError(ErrorKind::kIo, "writing {}: {}", name, std::strerror(errno));
  };
}

}  // namespace

void AddFormatFlags(CLI::App* command, std::string* text) {
  auto* format = command->add_option("--format", *text, "table, csv, json, ndjson, arrow or parquet (default table)")
                     ->check(CLI::IsMember({"table", "csv", "json", "ndjson", "arrow", "parquet"}))
                     ->type_name("FORMAT");
  command->add_flag_callback("--json", [text] { *text = "json"; }, "The same as --format json")->excludes(format);
}

Result<int64_t> PrintRows(Rows* rows, query::Format format) {
  SHEAF_ASSIGN_OR_RETURN(const int64_t count, Pump(rows, format, SinkTo(stdout, "standard output")));
  if (std::fflush(stdout) != 0) return MakeError(ErrorKind::kIo, "writing standard output: {}", std::strerror(errno));
  return count;
}

Result<int64_t> WriteRows(Rows* rows, query::Format format, const std::string& path) {
  const std::string partial = path + ".partial";
  std::FILE* const file = std::fopen(partial.c_str(), "wb");
  if (file == nullptr) return MakeError(ErrorKind::kIo, "opening {} to write: {}", partial, std::strerror(errno));
  Result<int64_t> count = Pump(rows, format, SinkTo(file, partial));
  const bool closed = std::fclose(file) == 0;
  if (count.ok() && !closed) count = MakeError(ErrorKind::kIo, "writing {}: {}", partial, std::strerror(errno));
  if (count.ok() && std::rename(partial.c_str(), path.c_str()) != 0) {
    count = MakeError(ErrorKind::kIo, "renaming {} to {}: {}", partial, path, std::strerror(errno));
  }
  if (!count.ok()) std::remove(partial.c_str());
  return count;
}

}  // namespace sheaf::cli
