/// Blocks, headers and names that are wrong although their checksums are right: none counts.

#include "wal/format.h"

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/crc32c.h"
#include "wal/archive.h"
#include "wal/segments.h"
#include "wal/sim_log_testing.h"

namespace sheaf::wal {
namespace {

using testing::HasSubstr;

std::span<const std::byte> BytesOf(const std::string& text) { return std::as_bytes(std::span(text.data(), text.size())); }

template <typename T>
std::string TextOf(const T& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A segment's page with this version and the checksum that belongs to it.
std::string SegmentPage(uint32_t version) {
  std::string page = TextOf(EncodeSegmentHeader({.first_lsn = 1, .salt = 5}));
  std::memcpy(page.data() + offsetof(SegmentHeader, version), &version, sizeof version);
  std::memset(page.data() + offsetof(SegmentHeader, crc), 0, sizeof(uint32_t));
  const uint32_t crc = Crc32c(BytesOf(page));
  std::memcpy(page.data() + offsetof(SegmentHeader, crc), &crc, sizeof crc);
  return page;
}

TEST(SegmentHeaders, VersionsThatThisProgramDoesNotKnowAreUnsupported) {
  for (const uint32_t version : {1u, 2u}) EXPECT_EQ(DecodeSegmentHeader(BytesOf(SegmentPage(version))).ValueOrDie().version, version);
  for (const uint32_t version : {0u, 3u}) {
    const Status refused = DecodeSegmentHeader(BytesOf(SegmentPage(version))).status();
    EXPECT_EQ(KindOf(refused), ErrorKind::kUnsupported) << version;
    EXPECT_TRUE(IsDamage(refused));
  }
  EXPECT_THAT(DecodeSegmentHeader(BytesOf(SegmentPage(2).substr(1))).status().message(), HasSubstr("cut off after 4095 bytes"));
}

/// A block of these entries, LSN 7 and on, at the first page of a segment with salt 5.
std::string EncodedBlockOf(const std::vector<Entry>& entries) {
  std::vector<PendingEntry> pending;
  for (const Entry& entry : entries) {
    const std::string payload = entry.payload->ToString();
    pending.push_back({{Lsn(7 + pending.size()), 1, entry}, Crc32c(BytesOf(payload))});
  }
  std::vector<const PendingEntry*> group;
  for (const PendingEntry& entry : pending) group.push_back(&entry);
  EncodedBlock block;
  EncodeBlock({.epoch = Epoch(1), .durable = Lsn(6), .chain = 9, .salt = 5, .position = kPageBytes}, group, &block);
  std::string out;
  for (const auto& piece : block.pieces) out += TextOf(piece);
  return out;
}

template <typename Header>
Header Load(const std::string& block, size_t at = 0) {
  Header header;
  std::memcpy(&header, block.data() + at, sizeof header);
  return header;
}

template <typename Header>
void Store(const Header& header, std::string* block, size_t at = 0) {
  std::memcpy(block->data() + at, &header, sizeof header);
}

/// Puts the header there with the checksum that belongs to it.
void StoreHeader(BlockHeader header, std::string* block) {
  const std::string text(reinterpret_cast<const char*>(&header), sizeof header);
  header.crc = Crc32c(BytesOf(text.substr(8)));
  Store(header, block);
}

std::optional<BlockHeader> HeaderOf(const std::string& block) { return DecodeBlockHeader(BytesOf(block), kPageBytes, 5); }

Result<Block> Decode(const std::string& block) {
  const auto header = HeaderOf(block);
  if (!header) return MakeError(ErrorKind::kInvalid, "no header");
  return DecodeBlock(*header, arrow::Buffer::FromString(block));
}

TEST(BlockHeaders, CountOnlyWhereTheyCanBe) {
  const std::string good = EncodedBlockOf({MakeEntry("a", "id"), MakeEntry("bb")});
  ASSERT_TRUE(HeaderOf(good).has_value());
  const std::function<void(BlockHeader*)> changes[] = {
      [](BlockHeader* h) { h->block_bytes = kPageBytes + 8; },
      [](BlockHeader* h) { h->block_bytes = 0; },
      [](BlockHeader* h) { h->block_bytes = kBlockBytesMax + kPageBytes; },
      [](BlockHeader* h) { h->entries = 0; },
      [](BlockHeader* h) { h->entries = kPageBytes / sizeof(EntryHeader); },
      [](BlockHeader* h) { h->first_lsn = 0; },
      [](BlockHeader* h) { h->salt = 6; },
      [](BlockHeader* h) { h->position = 2 * kPageBytes; },
      [](BlockHeader* h) { h->magic = 1; },
  };
  for (size_t i = 0; i < std::size(changes); ++i) {
    std::string bad = good;
    BlockHeader header = Load<BlockHeader>(good);
    changes[i](&header);
    StoreHeader(header, &bad);
    EXPECT_FALSE(HeaderOf(bad).has_value()) << i;
  }
  EXPECT_FALSE(HeaderOf(good.substr(0, sizeof(BlockHeader) - 1)).has_value());
}

TEST(Blocks, EntriesThatCannotBeAreCorruption) {
  const std::string good = EncodedBlockOf({MakeEntry("a", "id"), MakeEntry("bb")});
  ASSERT_EQ(Decode(good).ValueOrDie().entries.size(), 2u);
  const auto refusal = [&](const std::function<void(EntryHeader*)>& change) {
    std::string bad = good;
    EntryHeader header = Load<EntryHeader>(good, sizeof(BlockHeader));
    change(&header);
    Store(header, &bad, sizeof(BlockHeader));
    return Decode(bad).status().message();
  };
  EXPECT_THAT(refusal([](EntryHeader* h) { h->reserved = 1; }), HasSubstr("the header of entry 7 is damaged"));
  EXPECT_THAT(refusal([](EntryHeader* h) { h->batch_id_bytes = kBatchIdBytesMax + 1; }), HasSubstr("the header of entry 7 is damaged"));
  EXPECT_THAT(refusal([](EntryHeader* h) { h->payload_bytes = 1u << 31; }), HasSubstr("the header of entry 7 is damaged"));
  EXPECT_THAT(refusal([](EntryHeader* h) { h->type = 99; }), HasSubstr("the header of entry 7 fails its checksum"));

  const auto with_header = [](std::string block, const std::function<void(BlockHeader*)>& change) {
    BlockHeader header = Load<BlockHeader>(block);
    change(&header);
    StoreHeader(header, &block);
    return Decode(block).status().message();
  };
  EXPECT_THAT(with_header(good, [](BlockHeader* h) { ++h->entries; }), HasSubstr("the header of entry 9"));
  EXPECT_THAT(with_header(good, [](BlockHeader* h) { h->entries_crc ^= 1; }), HasSubstr("fail the checksum of their block"));
  EXPECT_THAT(with_header(good, [](BlockHeader* h) { ++h->first_lsn; }), HasSubstr("the header of entry 8 fails its checksum"));
  EXPECT_THAT(with_header(good + std::string(kPageBytes, '\0'), [](BlockHeader* h) { h->block_bytes *= 2; }),
              HasSubstr("the padding of the block is damaged"));
  const std::string full = EncodedBlockOf({MakeEntry(std::string(kPageBytes - 128 - 16, 'x'))});
  ASSERT_EQ(full.size(), size_t{kPageBytes});
  EXPECT_THAT(with_header(full, [](BlockHeader* h) { ++h->entries; }), HasSubstr("the header of entry 8 is damaged"));
}

/// As version 1 wrote it; nothing does any more.
struct OldEntryHeader {
  uint32_t crc, payload_bytes;
  uint64_t lsn;
  int64_t time_ns;
  uint8_t type, batch_id_bytes;
  uint16_t reserved;
  uint32_t payload_crc;
};
static_assert(sizeof(OldEntryHeader) == 32);

TEST(Blocks, OfVersion1AreReadOrRefusedLikewise) {
  const auto block = [](const std::function<void(OldEntryHeader*)>& change, uint32_t entries = 1) {
    std::string out(kPageBytes, '\0');
    OldEntryHeader entry{.payload_bytes = 1, .lsn = 7, .time_ns = 1, .type = 1, .payload_crc = Crc32c(BytesOf("a"))};
    change(&entry);
    entry.crc = Crc32c(BytesOf(std::string(reinterpret_cast<const char*>(&entry), sizeof entry).substr(4)));
    Store(entry, &out, sizeof(BlockHeader));
    out[sizeof(BlockHeader) + 64] = 'a';
    BlockHeader header{.magic = kBlockMagicVersion1, .block_bytes = kPageBytes, .entries = entries, .first_lsn = 7, .salt = 5,
                       .position = kPageBytes};
    header.entries_crc = Crc32c(BytesOf(out.substr(sizeof header, 64)));
    StoreHeader(header, &out);
    return out;
  };
  const Block good = Decode(block([](OldEntryHeader*) {})).ValueOrDie();
  EXPECT_EQ(PayloadText(good.entries[0]), "a");
  const std::function<void(OldEntryHeader*)> changes[] = {
      [](OldEntryHeader* h) { h->lsn = 8; },
      [](OldEntryHeader* h) { h->reserved = 1; },
      [](OldEntryHeader* h) { h->batch_id_bytes = kBatchIdBytesMax + 1; },
      [](OldEntryHeader* h) { h->payload_bytes = kPageBytes; },
  };
  for (size_t i = 0; i < std::size(changes); ++i) {
    EXPECT_THAT(Decode(block(changes[i])).status().message(), HasSubstr("the header of entry 7 is damaged")) << i;
  }
  const auto to_the_end = [](OldEntryHeader* h) { h->payload_bytes = kPageBytes - sizeof(BlockHeader) - 64; };
  std::string full = block(to_the_end, 2);
  OldEntryHeader entry = Load<OldEntryHeader>(full, sizeof(BlockHeader));
  entry.payload_crc = Crc32c(BytesOf(full.substr(sizeof(BlockHeader) + 64)));
  entry.crc = Crc32c(BytesOf(std::string(reinterpret_cast<const char*>(&entry), sizeof entry).substr(4)));
  Store(entry, &full, sizeof(BlockHeader));
  EXPECT_THAT(Decode(full).status().message(), HasSubstr("the header of entry 8 is damaged")) << "the block ends before it";
}

TEST(CommitSlots, CountOnlyWhereAllFits) {
  const std::string good = TextOf(EncodeCommitSlot({.sequence = 4, .durable_lsn = 9}));
  EXPECT_EQ(DecodeCommitSlot(BytesOf(good))->durable_lsn, 9u);
  for (const size_t at : {offsetof(CommitSlot, magic), offsetof(CommitSlot, version), offsetof(CommitSlot, crc),
                          offsetof(CommitSlot, durable_lsn)}) {
    std::string bad = good;
    bad[at] ^= 1;
    EXPECT_FALSE(DecodeCommitSlot(BytesOf(bad)).has_value()) << at;
  }
  EXPECT_FALSE(DecodeCommitSlot(BytesOf(good.substr(0, sizeof(CommitSlot) - 1))).has_value());
}

TEST(SegmentNames, AreOfOneFormOnly) {
  EXPECT_EQ(ParseSegmentName(SegmentName(Lsn(42))), Lsn(42));
  EXPECT_EQ(ParseSegmentName(SegmentName(kLsnMax)), kLsnMax);
  for (const char* name : {"wal-000000000000002a.lo", "wal-000000000000002a.logg", "val-000000000000002a.log", "wal-000000000000002a.lox",
                           "wal-0000000000000000.log", "wal-000000000000002A.log", "wal-00000000000000zz.log", "wal-zzzzzzzzzzzzzzzz.log",
                           "wal--00000000000002a.log", ""}) {
    EXPECT_FALSE(ParseSegmentName(name).has_value()) << name;
  }
}

TEST(SegmentNames, AFolderOfSuchANameIsNoSegment) {
  io::SimFileSystem disk;
  ASSERT_TRUE(disk.MakeDirectories("/wal/" + SegmentName(Lsn(9))).ok());
  disk.SetContents("/wal/" + SegmentName(Lsn(5)), "x");
  disk.SetContents("/wal/other", "x");
  const auto listed = ListSegments(&disk, "/wal").ValueOrDie();
  ASSERT_EQ(listed.size(), 1u);
  EXPECT_EQ(listed[0].first, Lsn(5));
}

}  // namespace
}  // namespace sheaf::wal
