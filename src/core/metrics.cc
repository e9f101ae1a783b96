#include "core/metrics.h"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "core/check.h"

namespace sheaf {
namespace {

constexpr double kBounds[Histogram::kBuckets] = {1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2,
                                                 2e-2, 5e-2, 1e-1, 2e-1, 5e-1, 1,    2,    5,    10};

std::string LabelText(const Labels& labels, const std::string& more = {}) {
  std::string text;
  for (const auto& [key, value] : labels) {
    std::string escaped;
    for (const char c : value) {
      if (c == '\\' || c == '"') escaped.push_back('\\');
      if (c == '\n') escaped += "\\n";
      else escaped.push_back(c);
    }
    text += fmt::format("{}{}=\"{}\"", text.empty() ? "" : ",", key, escaped);
  }
  if (!more.empty()) text += (text.empty() ? "" : ",") + more;
  return text.empty() ? text : "{" + text + "}";
}

}  // namespace

double Histogram::Bound(size_t i) { return kBounds[i]; }

void Histogram::Observe(double seconds) {
  const size_t bucket = std::lower_bound(std::begin(kBounds), std::end(kBounds), seconds) - std::begin(kBounds);
  counts_[bucket].fetch_add(1, std::memory_order_relaxed);
  sum_ns_.fetch_add(static_cast<uint64_t>(std::max(0.0, seconds) * 1e9), std::memory_order_relaxed);
}

std::array<uint64_t, Histogram::kBuckets + 1> Histogram::counts() const {
  std::array<uint64_t, kBuckets + 1> copy;
  for (size_t i = 0; i < copy.size(); ++i) copy[i] = counts_[i].load(std::memory_order_relaxed);
  return copy;
}

double Histogram::sum() const { return static_cast<double>(sum_ns_.load(std::memory_order_relaxed)) / 1e9; }

MetricRegistry::Entry& MetricRegistry::FindOrAdd(const std::string& name, const std::string& help, Labels labels) {
  for (const auto& entry : entries_) {
    if (entry->name == name && entry->labels == labels) return *entry;
  }
  entries_.push_back(std::make_unique<Entry>());
  Entry& entry = *entries_.back();
  entry.name = name;
  entry.help = help;
  entry.labels = std::move(labels);
  return entry;
}

Counter& MetricRegistry::AddCounter(const std::string& name, const std::string& help, Labels labels) {
  MutexLock lock(&mutex_);
  Entry& entry = FindOrAdd(name, help, std::move(labels));
  if (!entry.counter) entry.counter = std::make_unique<Counter>();
  return *entry.counter;
}

Gauge& MetricRegistry::AddGauge(const std::string& name, const std::string& help, Labels labels) {
  MutexLock lock(&mutex_);
  Entry& entry = FindOrAdd(name, help, std::move(labels));
  if (!entry.gauge) entry.gauge = std::make_unique<Gauge>();
  return *entry.gauge;
}

Histogram& MetricRegistry::AddHistogram(const std::string& name, const std::string& help, Labels labels) {
  MutexLock lock(&mutex_);
  Entry& entry = FindOrAdd(name, help, std::move(labels));
  if (!entry.histogram) entry.histogram = std::make_unique<Histogram>();
  return *entry.histogram;
}

std::string MetricRegistry::ToText() const {
  MutexLock lock(&mutex_);
  std::vector<const Entry*> sorted;
  for (const auto& entry : entries_) sorted.push_back(entry.get());
  std::stable_sort(sorted.begin(), sorted.end(), [](const Entry* a, const Entry* b) { return a->name < b->name; });

  std::string text;
  auto out = std::back_inserter(text);
  const std::string* last = nullptr;
  for (const Entry* entry : sorted) {
    const char* type = entry->counter ? "counter" : entry->gauge ? "gauge" : "histogram";
    if (last == nullptr || *last != entry->name) {
      fmt::format_to(out, "# HELP {} {}\n# TYPE {} {}\n", entry->name, entry->help, entry->name, type);
      last = &entry->name;
    }
    if (entry->counter) fmt::format_to(out, "{}{} {}\n", entry->name, LabelText(entry->labels), entry->counter->value());
    if (entry->gauge) fmt::format_to(out, "{}{} {}\n", entry->name, LabelText(entry->labels), entry->gauge->value());
    if (entry->histogram) {
      const auto counts = entry->histogram->counts();
      uint64_t cumulative = 0;
      for (size_t i = 0; i < counts.size(); ++i) {
        cumulative += counts[i];
        const std::string bound = i < Histogram::kBuckets ? fmt::format("le=\"{}\"", kBounds[i]) : "le=\"+Inf\"";
        fmt::format_to(out, "{}_bucket{} {}\n", entry->name, LabelText(entry->labels, bound), cumulative);
      }
      fmt::format_to(out, "{}_sum{} {}\n", entry->name, LabelText(entry->labels), entry->histogram->sum());
      fmt::format_to(out, "{}_count{} {}\n", entry->name, LabelText(entry->labels), cumulative);
    }
  }
  return text;
}

MetricRegistry& Metrics() {
  static MetricRegistry* const registry = new MetricRegistry;
  return *registry;
}

}  // namespace sheaf
