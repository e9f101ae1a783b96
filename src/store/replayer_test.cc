#include "store/replayer.h"

#include <vector>

#include <gtest/gtest.h>

namespace sheaf::store {
namespace {

Status AddEntry(Replayer* replayer, uint64_t lsn, const std::string& payload = "x") {
  Replayer::Entry* entry = replayer->Next();
  entry->lsn = Lsn(lsn);
  entry->payload = arrow::Buffer::FromString(payload);
  return replayer->Add();
}

TEST(Replayer, PublishesAllInOrder) {
  std::vector<uint64_t> published;
  Replayer replayer([&](const Replayer::Entry& entry) {
    published.push_back(entry.lsn.value);
    return Status::OK();
  });
  constexpr uint64_t kEntries = 10'000;
  for (uint64_t lsn = 1; lsn <= kEntries; ++lsn) ASSERT_TRUE(AddEntry(&replayer, lsn).ok());
  ASSERT_TRUE(replayer.Finish().ok());
  ASSERT_EQ(published.size(), kEntries);
  for (uint64_t lsn = 1; lsn <= kEntries; ++lsn) ASSERT_EQ(published[lsn - 1], lsn);
}

TEST(Replayer, NothingBehindAnEntryThatFailsIsPublished) {
  std::vector<uint64_t> published;
  Replayer replayer([&](const Replayer::Entry& entry) {
    if (entry.lsn.value == 700) return MakeError(ErrorKind::kIo, "entry 700");
    published.push_back(entry.lsn.value);
    return Status::OK();
  });
  Status added;
  for (uint64_t lsn = 1; lsn <= 100'000 && added.ok(); ++lsn) added = AddEntry(&replayer, lsn);
  EXPECT_EQ(KindOf(added), ErrorKind::kIo) << "the sender is told before it has read everything";
  EXPECT_EQ(replayer.Finish().message(), "entry 700");
  EXPECT_EQ(published.size(), 699u);
}

TEST(Replayer, KeepsAFewGroupsOnly) {
  std::vector<std::weak_ptr<arrow::Buffer>> payloads;
  size_t alive_max = 0;
  Replayer replayer([&](const Replayer::Entry&) { return Status::OK(); });
  const std::string large(300'000, 'x');
  for (uint64_t lsn = 1; lsn <= 200; ++lsn) {
    Replayer::Entry* entry = replayer.Next();
    entry->lsn = Lsn(lsn);
    entry->payload = arrow::Buffer::FromString(large);
    payloads.push_back(entry->payload);
    ASSERT_TRUE(replayer.Add().ok());
    size_t alive = 0;
    for (const auto& payload : payloads) alive += payload.expired() ? 0 : 1;
    alive_max = std::max(alive_max, alive);
  }
  EXPECT_LE(alive_max, 4u * 4u) << "four groups of a mebibyte";
  ASSERT_TRUE(replayer.Finish().ok());
}

TEST(Replayer, MayGoBeforeItIsFinished) {
  Replayer replayer([](const Replayer::Entry&) { return Status::OK(); });
  ASSERT_TRUE(AddEntry(&replayer, 1).ok());
}

}  // namespace
}  // namespace sheaf::store
