/// The figures of exporters as Prometheus text.

#include <string_view>

#include "client/exporter.h"
#include "wire/otlp_records.h"

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
    {"sheaf_export_unreadable_rows_total", "counter", "Rows given up since the queue's log is damaged.",
     [](const auto& s) { return s.unreadable_rows; }},
    {"sheaf_export_put_off_requests", "gauge", "Requests that went out in vain again and again; others go before them.",
     [](const auto& s) { return s.queue.put_off_requests; }},
    {"sheaf_export_put_off_attempts", "gauge", "Attempts in vain of the one of them that was tried most often.",
     [](const auto& s) { return int64_t{s.queue.put_off_attempts}; }},
    {"sheaf_export_held", "gauge", "Senders that wait since the target takes nothing: credentials, its address.",
     [](const auto& s) { return s.held; }},
    {"sheaf_export_dropped_rows_total", "counter", "Rows lost at the end of a queue without a folder.",
     [](const auto& s) { return s.dropped_rows; }},
    {"sheaf_export_inexact_rows_total", "counter", "Rows sent of which OTel-Arrow could not say all.",
     [](const auto& s) { return s.inexact_rows; }},
    {"sheaf_export_perhaps_twice_rows_total", "counter", "Rows sent again after their answer was lost.",
     [](const auto& s) { return s.perhaps_twice_rows; }},
};

/// Of the batcher of one signal.
struct BatchFigure {
  std::string_view name, help;
  int64_t (*value)(const columns::BatchReport& report);
};

constexpr BatchFigure kBatchFigures[] = {
    {"sheaf_export_batch_wait_microseconds", "Longest that a request waits for others now.",
     [](const auto& r) { return r.limits.wait_ns / 1'000; }},
    {"sheaf_export_batch_bytes", "Bytes of requests with which a batch waits no longer now.",
     [](const auto& r) { return r.limits.min.bytes; }},
    {"sheaf_export_batch_requests_per_second", "Requests that arrive, as measured lately.",
     [](const auto& r) { return static_cast<int64_t>(r.items_per_second); }},
    {"sheaf_export_batch_flush_microseconds", "Until the target answers a batch, whatever its size, as measured lately.",
     [](const auto& r) { return static_cast<int64_t>(r.flush_ns_fixed / 1'000); }},
};
constexpr wire::OtlpRequest kKinds[kExportKinds] = {wire::OtlpRequest::kTraces, wire::OtlpRequest::kLogs, wire::OtlpRequest::kMetrics};

std::string Escaped(std::string_view label) {
  std::string out;
  for (const char c : label) {
    if (c == '\\' || c == '"') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

void AddHead(std::string_view name, std::string_view type, std::string_view help, std::string* text) {
  *text += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

/// What the batchers chose, and why.
std::string BatchMetricsText(std::span<const std::pair<std::string, ExporterStats>> exporters) {
  std::string text;
  const auto add = [&](const auto& line) {  // For each batcher: its labels, and what it reports.
    for (const auto& [name, stats] : exporters) {
      for (size_t i = 0; i < kExportKinds; ++i) {
        line(fmt::format("target=\"{}\",signal=\"{}\"", Escaped(name), wire::OtlpSignalName(kKinds[i])), stats.batches[i]);
      }
    }
  };
  for (const BatchFigure& figure : kBatchFigures) {
    AddHead(figure.name, "gauge", figure.help, &text);
    add([&](const std::string& labels, const auto& report) {
      text += fmt::format("{}{{{}}} {}\n", figure.name, labels, figure.value(report));
    });
  }
  AddHead("sheaf_export_batches_total", "counter", "Batches of requests, by why they waited no longer.", &text);
  add([&](const std::string& labels, const auto& report) {
    for (size_t reason = 0; reason < columns::kBatchReasons; ++reason) {
      if (report.batches[reason] == 0) continue;
      text += fmt::format("sheaf_export_batches_total{{{},reason=\"{}\"}} {}\n", labels,
                          columns::BatchReasonName(static_cast<columns::BatchReason>(reason)), report.batches[reason]);
    }
  });
  AddHead("sheaf_export_batch_wait_reason", "gauge", "1 for why requests wait as long as they do.", &text);
  add([&](const std::string& labels, const auto& report) {
    text += fmt::format("sheaf_export_batch_wait_reason{{{},reason=\"{}\"}} 1\n", labels, columns::WaitReasonName(report.wait_reason));
  });
  return text;
}

}  // namespace

std::string ExporterMetricsText(std::span<const std::pair<std::string, ExporterStats>> exporters) {
  std::string text;
  for (const Figure& figure : kFigures) {
    AddHead(figure.name, figure.type, figure.help, &text);
    for (const auto& [name, stats] : exporters) {
      text += fmt::format("{}{{target=\"{}\"}} {}\n", figure.name, Escaped(name), figure.value(stats));
    }
  }
  return text + BatchMetricsText(exporters);
}

}  // namespace sheaf::client
