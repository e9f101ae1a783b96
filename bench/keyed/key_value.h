/// What keyed_comparison asks of each engine: rows of a 16-byte key and a value of bytes, put and got one by one or in batches.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sheaf::bench {

using Pairs = std::vector<std::pair<std::string, std::string>>;

/// Key of row `i`: spread over the whole space, the same for all engines.
inline std::string KeyOf(uint64_t i) {
  std::string key(16, '\0');
  for (int word = 0; word < 2; ++word) {
    uint64_t x = i * 2 + static_cast<uint64_t>(word) + 0x9E3779B97F4A7C15;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
    x ^= x >> 31;
    for (int b = 0; b < 8; ++b) key[static_cast<size_t>(word * 8 + b)] = static_cast<char>(x >> (8 * b));
  }
  return key;
}

struct EngineLimits {
  size_t memtable_bytes = size_t{128} << 20;
  size_t cache_bytes = size_t{512} << 20;
  bool keyed = true;  // Sheaf's only; false: rows in the order of arrival, as telemetry has them.
};

/// Thread-safe for puts and gets unless the engine itself serialises writers. Ends the program on an error: a benchmark that
/// went wrong measured nothing.
class KeyValue {
 public:
  virtual ~KeyValue() = default;
  virtual const char* name() const = 0;
  /// Puts one row. `durable`: on disk (fdatasync) when it returns; else as the engine does without a sync, but in its log.
  virtual void Put(std::string_view key, std::string_view value, bool durable) = 0;
  /// Puts one row durably and returns at once; `done` is called when the row is on disk, on a thread of the engine's, and may put the
  /// next. False where the engine has no such call.
  virtual bool PutAsync(std::string_view, std::string_view, std::function<void()>) { return false; }
  /// Puts rows in one atomic batch.
  virtual void PutBatch(const Pairs& pairs, bool durable) = 0;
  /// Returns the value's bytes read (their sum, so that they are touched), or -1 where there is no such key.
  virtual int64_t Get(std::string_view key) = 0;
  /// What is in memory goes to files.
  virtual void Flush() { Settle(); }
  /// The same; then all that can be compacted is, where the engine has such a request.
  virtual void Settle() = 0;
};

/// Makes an engine in an empty folder.
std::unique_ptr<KeyValue> OpenSheaf(const std::string& folder, const EngineLimits& limits);
std::unique_ptr<KeyValue> OpenRocksDb(const std::string& folder, const EngineLimits& limits);
std::unique_ptr<KeyValue> OpenLmdb(const std::string& folder, const EngineLimits& limits);
std::unique_ptr<KeyValue> OpenSqlite(const std::string& folder, const EngineLimits& limits);

}  // namespace sheaf::bench
