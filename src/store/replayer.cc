#include "store/replayer.h"

#include <utility>

namespace sheaf::store {
namespace {

constexpr size_t kGroups = 4, kGroupEntries = 256;
constexpr int64_t kGroupBytes = int64_t{1} << 20;

}  // namespace

Replayer::Replayer(Publish publish) : publish_(std::move(publish)), empty_(kGroups), filled_(kGroups) {
  for (size_t i = 0; i < kGroups; ++i) {
    auto group = std::make_unique<Group>();
    group->entries.resize(kGroupEntries);
    empty_.Push(std::move(group));
  }
  publisher_ = std::thread([this] { PublishLoop(); });
}

Replayer::~Replayer() {
  filled_.Close();
  if (publisher_.joinable()) publisher_.join();
}

Status Replayer::error() const {
  MutexLock lock(&mutex_);
  return error_;
}

Replayer::Entry* Replayer::Next() {
  if (filling_ == nullptr) filling_ = *empty_.Pop();
  return &filling_->entries[filling_->used];
}

Status Replayer::Add() {
  const Entry& added = filling_->entries[filling_->used++];
  filling_->bytes += added.payload == nullptr ? 0 : added.payload->size();
  if (filling_->used < kGroupEntries && filling_->bytes < kGroupBytes) return Status::OK();
  HandOver();
  return error();
}

void Replayer::HandOver() {
  if (filling_ != nullptr) filled_.Push(std::move(filling_));
  filling_ = nullptr;
}

Status Replayer::Finish() {
  HandOver();
  filled_.Close();
  publisher_.join();
  return error();
}

void Replayer::PublishLoop() {
  bool failed = false;
  while (auto group = filled_.Pop()) {
    for (size_t i = 0; i < (*group)->used; ++i) {
      Entry& entry = (*group)->entries[i];
      const Status published = failed ? Status::OK() : publish_(entry);
      if (!published.ok()) {
        failed = true;
        MutexLock lock(&mutex_);
        error_ = published;
      }
      for (VersionSet::NewRows& rows : entry.rows) {
        rows.chunk = nullptr;
        rows.batch = nullptr;
      }
      entry.payload = nullptr;
    }
    (*group)->used = 0;
    (*group)->bytes = 0;
    empty_.Push(*std::move(group));
  }
}

}  // namespace sheaf::store
