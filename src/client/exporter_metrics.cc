/// The figures of exporters as Prometheus text.

#include <string_view>

#include "client/exporter.h"

namespace sheaf::client {
namespace {

struct Figure {
  std::string_view name, type, help;
  int64_t (*value)(const ExporterStats& stats);
};

constexpr Figure kFigures[] = {
    {"sheaf_export_queued_requests", "gauge", "Requests in the queue that are not delivered.",
     [](const auto& s) { return s.queue.requests; }},
    {"sheaf_export_queued_rows", "gauge", "Their spans, log records and data points.", [](const auto& s) { return s.queue.rows; }},
    {"sheaf_export_queued_bytes", "gauge", "Their bytes.", [](const auto& s) { return s.queue.bytes; }},
    {"sheaf_export_memory_bytes", "gauge", "Of those, bytes in memory.", [](const auto& s) { return s.queue.memory_bytes; }},
    {"sheaf_export_disk_bytes", "gauge", "Size of the queue's log.", [](const auto& s) { return s.queue.disk_bytes; }},
    {"sheaf_export_oldest_age_milliseconds", "gauge", "Age of the oldest request in the queue.",
     [](const auto& s) { return s.oldest_age_ms; }},
    {"sheaf_export_sent_requests_total", "counter", "Requests that the server took.", [](const auto& s) { return s.sent_requests; }},
    {"sheaf_export_sent_rows_total", "counter", "Rows that the server took.", [](const auto& s) { return s.sent_rows; }},
    {"sheaf_export_sent_bytes_total", "counter", "Bytes sent, of all attempts.", [](const auto& s) { return s.sent_bytes; }},
    {"sheaf_export_retries_total", "counter", "Attempts after the first.", [](const auto& s) { return s.retries; }},
    {"sheaf_export_rejected_rows_total", "counter", "Rows that the server left out of requests that it took.",
     [](const auto& s) { return s.rejected_rows; }},
    {"sheaf_export_refused_rows_total", "counter", "Rows of requests that the server will never take.",
     [](const auto& s) { return s.refused_rows; }},
    {"sheaf_export_held", "gauge", "Senders that wait since the target takes nothing: credentials, its address.",
     [](const auto& s) { return s.held; }},
    {"sheaf_export_dropped_rows_total", "counter", "Rows lost at the end of a queue without a folder.",
     [](const auto& s) { return s.dropped_rows; }},
    {"sheaf_export_inexact_rows_total", "counter", "Rows sent of which OTel-Arrow could not say all.",
     [](const auto& s) { return s.inexact_rows; }},
    {"sheaf_export_perhaps_twice_rows_total", "counter", "Rows sent again after their answer was lost.",
     [](const auto& s) { return s.perhaps_twice_rows; }},
};

std::string Escaped(std::string_view label) {
  std::string out;
  for (const char c : label) {
    if (c == '\\' || c == '"') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

}  // namespace

std::string ExporterMetricsText(std::span<const std::pair<std::string, ExporterStats>> exporters) {
  std::string text;
  for (const Figure& figure : kFigures) {
    text += fmt::format("# HELP {} {}\n# TYPE {} {}\n", figure.name, figure.help, figure.name, figure.type);
    for (const auto& [name, stats] : exporters) {
      text += fmt::format("{}{{target=\"{}\"}} {}\n", figure.name, Escaped(name), figure.value(stats));
    }
  }
  return text;
}

}  // namespace sheaf::client
