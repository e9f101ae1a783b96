/// A recovery on two cores: the log's thread reads and prepares entries, another makes those before them visible.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <arrow/buffer.h>

#include "core/bounded_queue.h"
#include "core/ids.h"
#include "core/mutex.h"
#include "core/status.h"
#include "store/version.h"

namespace sheaf::store {

/// One thread adds entries, in LSN order. They are handed over in groups, whose memory is used again: rows of a few bytes would
/// otherwise cost more to hand over than to publish.
class Replayer {
 public:
  /// What an entry of the log does.
  struct Entry {
    Lsn lsn;
    int64_t time_ns = 0;
    std::string batch_id;
    std::shared_ptr<arrow::Buffer> payload;  // What `rows` may point into.
    std::vector<VersionSet::NewRows> rows;
  };
  /// Makes an entry visible; on a thread of its own, in the order of Add().
  using Publish = std::function<Status(const Entry&)>;

  explicit Replayer(Publish publish);
  ~Replayer();
  Replayer(const Replayer&) = delete;
  Replayer& operator=(const Replayer&) = delete;

  /// The entry to be filled. Its `rows` are of an earlier one: theirs is the memory to be used again.
  Entry* Next();
  /// Hands over the entry that Next() gave. Error: of an entry before.
  Status Add();
  /// Waits until all is published. Error: of the first entry that failed; those behind it were passed over.
  Status Finish();

 private:
  struct Group {
    std::vector<Entry> entries;
    size_t used = 0;
    int64_t bytes = 0;
  };
  using GroupPtr = std::unique_ptr<Group>;

  void HandOver();
  void PublishLoop();
  Status error() const SHEAF_EXCLUDES(mutex_);

  const Publish publish_;
  BoundedQueue<GroupPtr> empty_, filled_;
  GroupPtr filling_;
  mutable Mutex mutex_;
  Status error_ SHEAF_GUARDED_BY(mutex_);
  std::thread publisher_;
};

}  // namespace sheaf::store
