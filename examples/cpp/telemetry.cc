// Sends log records to a server of OpenTelemetry, from a queue on disk that a crash does not take:
//     telemetry ADDRESS QUEUE_DIRECTORY COUNT [WAIT_MS]
// Where the server is not there, the records stay in the queue, and the next run sends them too.

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>

#include <arrow/status.h>
#include <sheaf/exporter.h>

namespace {

/// OTLP as JSON; what an SDK makes is protobuf, which goes the same way without a conversion.
std::string LogRequest(int number) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const std::string time = std::to_string(std::chrono::nanoseconds(now).count());
  return R"({"resourceLogs": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "example"}}]},)"
         R"("scopeLogs": [{"logRecords": [{"timeUnixNano": ")" +
         time + R"(", "severityNumber": 9, "body": {"stringValue": "record )" + std::to_string(number) + R"("}}]}]}]})";
}

arrow::Status Run(const std::string& address, const std::string& queue, int count, std::chrono::milliseconds wait) {
  ARROW_ASSIGN_OR_RAISE(const auto exporter, sheaf::Exporter::Open(address, {.queue_directory = queue}));
  for (int i = 0; i < count; ++i) {
    ARROW_RETURN_NOT_OK(exporter->Export(sheaf::TelemetrySignal::kLogs, LogRequest(i), sheaf::TelemetryFormat::kJson));
  }
  exporter->Flush(wait);
  const sheaf::ExportFigures figures = exporter->figures();
  std::cout << figures.sent_rows << " records sent, " << figures.queued_rows << " wait in the queue" << std::endl;
  return exporter->Stop(std::chrono::milliseconds(0));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4 || argc > 5) {
    std::cerr << "usage: telemetry ADDRESS QUEUE_DIRECTORY COUNT [WAIT_MS]\n";
    return 2;
  }
  const std::chrono::milliseconds wait(argc > 4 ? std::atoi(argv[4]) : 10'000);
  const arrow::Status done = Run(argv[1], argv[2], std::atoi(argv[3]), wait);
  if (!done.ok()) std::cerr << "telemetry: " << done.message() << "\n";
  return done.ok() ? 0 : 1;
}
