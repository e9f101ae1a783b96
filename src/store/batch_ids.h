/// Which batches the database has seen, by the senders' ids, so that a retry adds nothing.

#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/ids.h"
#include "core/mutex.h"
#include "core/status.h"

namespace sheaf::store {

/// Ids are remembered for this long at least, unless there are more than kBatchIdsMax.
inline constexpr int64_t kBatchIdWindowNs = int64_t{24} * 3600 * 1'000'000'000;
/// Newest ids that are remembered; older ones are forgotten beyond.
inline constexpr size_t kBatchIdsMax = 1'000'000;

/// One id and the entry that brought it.
struct BatchIdRecord {
  std::string id;
  Lsn lsn;
  int64_t time_ns = 0;
};

/// Thread-safe.
class BatchIds {
 public:
  using Done = std::function<void(Result<Lsn>)>;

  struct Claim {
    enum class Kind { kFirst, kKnown, kWaiting } kind = Kind::kFirst;
    Lsn lsn;  // kKnown: the entry that has the batch.
  };
  /// Asks for `id`. kFirst: the caller appends, and calls Settle() whatever comes of it. kKnown: it is
  /// there already. kWaiting: another append of it is under way, and `done` was kept for its outcome.
  Claim Ask(const std::string& id, const Done& done) SHEAF_EXCLUDES(mutex_);
  /// Ends what Ask() began and returns the callbacks of those who waited; the caller runs them.
  std::vector<Done> Settle(const std::string& id) SHEAF_EXCLUDES(mutex_);

  /// Remembers a durable batch. LSNs rise. Forgets what is beyond the window.
  void Remember(BatchIdRecord record) SHEAF_EXCLUDES(mutex_);
  /// Those with LSN in (after, through], in order.
  std::vector<BatchIdRecord> Between(Lsn after, Lsn through) const SHEAF_EXCLUDES(mutex_);
  size_t size() const SHEAF_EXCLUDES(mutex_);

 private:
  mutable Mutex mutex_;
  std::unordered_map<std::string, Lsn> known_ SHEAF_GUARDED_BY(mutex_);
  std::deque<BatchIdRecord> order_ SHEAF_GUARDED_BY(mutex_);  // By LSN.
  std::unordered_map<std::string, std::vector<Done>> waiting_ SHEAF_GUARDED_BY(mutex_);
};

}  // namespace sheaf::store
