#include "memtable/key_order.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace sheaf::memtable {

uint64_t KeyOrder::HeadOf(std::string_view key) {
  uint64_t head = 0;
  if (key.size() >= sizeof head) {
    std::memcpy(&head, key.data(), sizeof head);
  } else if (!key.empty()) {
    std::memcpy(&head, key.data(), key.size());  // Padded with zeros: equal heads are told apart by the keys themselves.
  }
  return __builtin_bswap64(head);
}

std::shared_ptr<const KeyOrder::Run> KeyOrder::Merge(const Run& a, const Run& b) const {
  auto merged = std::make_shared<Run>(a.size() + b.size());
  std::merge(a.begin(), a.end(), b.begin(), b.end(), merged->begin(),
             [this](const Entry& x, const Entry& y) { return Before(x, y); });
  return merged;
}

std::vector<std::shared_ptr<const KeyOrder::Run>> KeyOrder::Runs() const {
  MutexLock lock(&mutex_);
  const size_t keys = keys_->size();
  if (covered_ == keys) return runs_;
  auto fresh = std::make_shared<Run>();
  fresh->reserve(keys - covered_);
  for (; covered_ < keys; ++covered_) {
    const RecordRef key = (*keys_)[covered_];
    fresh->push_back({HeadOf(versions_->record(key)->key()), key});
  }
  std::sort(fresh->begin(), fresh->end(), [this](const Entry& x, const Entry& y) { return Before(x, y); });
  std::shared_ptr<const Run> last = std::move(fresh);
  while (!runs_.empty() && runs_.back()->size() < 4 * last->size()) {
    last = Merge(*runs_.back(), *last);
    runs_.pop_back();
  }
  runs_.push_back(std::move(last));
  return runs_;
}

int64_t KeyOrder::bytes() const {
  MutexLock lock(&mutex_);
  size_t entries = 0;
  for (const auto& run : runs_) entries += run->size();
  return static_cast<int64_t>(entries * sizeof(Entry));
}

KeyWalk::KeyWalk(const KeyOrder* order, std::string_view from) : order_(order) {
  const uint64_t head = KeyOrder::HeadOf(from);
  for (auto& run : order->Runs()) {
    const auto first = std::partition_point(run->begin(), run->end(),
                                            [&](const KeyOrder::Entry& entry) { return order->Before(entry, head, from); });
    if (first != run->end()) parts_.push_back({run, static_cast<size_t>(first - run->begin())});
  }
}

RecordRef KeyWalk::Next() {
  if (parts_.empty()) return 0;
  size_t least = 0;
  for (size_t i = 1; i < parts_.size(); ++i) {
    if (order_->Before(parts_[i].entry(), parts_[least].entry())) least = i;
  }
  Part& part = parts_[least];
  constexpr size_t kAhead = 8;  // Records lie in the order in which keys came: each is a miss, and whoever walks reads it next.
  if (part.next + kAhead < part.run->size()) order_->Prefetch((*part.run)[part.next + kAhead]);
  const RecordRef key = part.entry().key;
  if (++part.next == part.run->size()) parts_.erase(parts_.begin() + static_cast<ptrdiff_t>(least));
  return key;
}

}  // namespace sheaf::memtable
