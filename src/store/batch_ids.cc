#include "store/batch_ids.h"

#include <algorithm>
#include <utility>

namespace sheaf::store {

BatchIds::Claim BatchIds::Ask(const std::string& id, const Done& done) {
  MutexLock lock(&mutex_);
  if (const auto known = known_.find(id); known != known_.end()) return {Claim::Kind::kKnown, known->second};
  const auto [waiting, first] = waiting_.try_emplace(id);
  if (first) return {Claim::Kind::kFirst, {}};
  waiting->second.push_back(done);
  return {Claim::Kind::kWaiting, {}};
}

std::vector<BatchIds::Done> BatchIds::Settle(const std::string& id) {
  MutexLock lock(&mutex_);
  const auto waiting = waiting_.find(id);
  if (waiting == waiting_.end()) return {};
  std::vector<Done> done = std::move(waiting->second);
  waiting_.erase(waiting);
  return done;
}

void BatchIds::Remember(BatchIdRecord record) {
  MutexLock lock(&mutex_);
  const int64_t oldest_ns = record.time_ns - kBatchIdWindowNs;
  known_[record.id] = record.lsn;
  order_.push_back(std::move(record));
  while (order_.size() > kBatchIdsMax || order_.front().time_ns < oldest_ns) {
    const auto known = known_.find(order_.front().id);
    if (known != known_.end() && known->second == order_.front().lsn) known_.erase(known);
    order_.pop_front();
  }
}

std::vector<BatchIdRecord> BatchIds::Between(Lsn after, Lsn through) const {
  MutexLock lock(&mutex_);
  const auto above = [](Lsn lsn, const BatchIdRecord& record) { return lsn < record.lsn; };
  const auto begin = std::upper_bound(order_.begin(), order_.end(), after, above);
  const auto end = std::upper_bound(begin, order_.end(), through, above);
  return {begin, end};
}

size_t BatchIds::size() const {
  MutexLock lock(&mutex_);
  return order_.size();
}

}  // namespace sheaf::store
