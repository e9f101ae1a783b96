/// Bytes of the log: what docs/formats/wal.md describes, as structs and the functions that fill and check
/// them. Nothing here touches a file. All integers are little-endian; every struct is written as it lies
/// in memory.

#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/ids.h"
#include "core/status.h"
#include "wal/log.h"

namespace sheaf::wal {

static_assert(std::endian::native == std::endian::little);

/// Headers and blocks start at multiples of this.
inline constexpr int64_t kPageBytes = 4096;
/// Entries start at multiples of this within their block…
inline constexpr int64_t kEntryAlignment = 8;
/// …and payloads too, up to this size: single rows, for which more alignment would cost as much as the rows themselves…
inline constexpr int64_t kSmallPayloadBytesMax = 512;
/// …but larger ones at multiples of this, so that Arrow can read them in place.
inline constexpr int64_t kPayloadAlignment = 64;
/// Of segments and blocks that are written. Version 1 is read.
inline constexpr uint32_t kFormatVersion = 2;
/// A group is cut here, so that a reader's memory stays bounded; a single larger entry is a block of its own.
inline constexpr int64_t kBlockBytesWish = int64_t{16} << 20;
/// No valid block is larger: one entry of the largest size.
inline constexpr int64_t kBlockBytesMax = kPayloadBytesMax + kPageBytes;

constexpr int64_t RoundUp(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

/// Start of a segment file; the rest of its page is zero.
struct SegmentHeader {
  std::array<char, 8> magic;
  uint32_t version;
  uint32_t crc;                         // CRC-32C of the whole page with this field zero.
  std::array<uint8_t, 16> database_id;  // Zeros: not told.
  std::array<uint8_t, 16> node_id;
  uint64_t first_lsn;
  uint64_t epoch;
  uint64_t salt;                        // Repeated in every block, so that what the file held before never counts.
  uint32_t chain;                       // Of all entries before first_lsn.
  uint32_t reserved;
  int64_t created_ns;
};
static_assert(sizeof(SegmentHeader) == 88);
inline constexpr std::array<char, 8> kSegmentMagic = {'S', 'H', 'E', 'A', 'F', 'W', 'A', 'L'};

/// Start of a commit block: what one sync made durable.
struct BlockHeader {
  uint32_t magic;
  uint32_t crc;                         // CRC-32C of the fields after this one.
  uint32_t block_bytes;                 // Multiple of kPageBytes.
  uint32_t entries;
  uint64_t epoch;
  uint64_t first_lsn;
  uint64_t durable_lsn;                 // Known to be on stable storage before this block was written.
  uint32_t chain;                       // Of all entries before this block.
  uint32_t entries_crc;                 // CRC-32C of all entry headers, ids and their padding included.
  uint64_t salt;
  uint64_t position;                    // Own offset in the file, so that a misplaced block is found.
};
static_assert(sizeof(BlockHeader) == 64);
inline constexpr uint32_t kBlockMagic = 0x324b4c42;         // "BLK2"
inline constexpr uint32_t kBlockMagicVersion1 = 0x4b4c4253;  // "SBLK"

/// Start of an entry. The batch id follows, then zeros to where the payload starts, the payload, and zeros to kEntryAlignment. Its LSN
/// is the block's first and its place in the block; the checksum covers it, so that an entry counts nowhere else.
struct EntryHeader {
  uint32_t crc;                         // CRC-32C of the LSN, of the fields after this one and of the batch id.
  uint32_t payload_bytes;
  int64_t time_ns;
  uint8_t type;
  uint8_t batch_id_bytes;
  uint16_t reserved;
  uint32_t payload_crc;
};
static_assert(sizeof(EntryHeader) == 24);

/// Where in its block the payload of an entry that starts at `at` starts…
constexpr int64_t PayloadPosition(int64_t at, size_t batch_id_bytes, int64_t payload_bytes) {
  return RoundUp(at + static_cast<int64_t>(sizeof(EntryHeader) + batch_id_bytes),
                 payload_bytes > kSmallPayloadBytesMax ? kPayloadAlignment : kEntryAlignment);
}
/// …and where the next entry starts.
constexpr int64_t EntryEnd(int64_t at, size_t batch_id_bytes, int64_t payload_bytes) {
  return RoundUp(PayloadPosition(at, batch_id_bytes, payload_bytes) + payload_bytes, kEntryAlignment);
}

/// False where both are told and differ: a file of another database.
bool SameDatabase(const std::array<uint8_t, 16>& a, const std::array<uint8_t, 16>& b);

/// Whether it is the bytes that are wrong. Otherwise they could not be had (Io, OutOfMemory, Unavailable …): nothing is known of them.
bool IsDamage(const Status& error);

/// Chain value after an entry, from the value before it. It depends on the entries alone, not on how
/// they are cut into blocks and segments, so nodes can compare their logs by it.
uint32_t NextChain(uint32_t chain, uint32_t entry_crc);

/// Returns a page with `header`, checksummed.
std::array<std::byte, kPageBytes> EncodeSegmentHeader(SegmentHeader header);
/// Corruption where it is damaged or no segment; Unsupported where it is of a newer version. `page` may be short.
Result<SegmentHeader> DecodeSegmentHeader(std::span<const std::byte> page);

/// Returns the header of a block at `position` of a segment with `salt` if there is one, undamaged.
/// Without `salt`, whatever segment it belongs to.
std::optional<BlockHeader> DecodeBlockHeader(std::span<const std::byte> page, int64_t position, std::optional<uint64_t> salt);

/// An entry on its way into a block.
struct PendingEntry {
  LoggedEntry logged;
  uint32_t payload_crc = 0;
};

/// Bytes of the block that would hold `entries`.
int64_t BlockBytes(std::span<const PendingEntry* const> entries);

/// A block ready to be written: pieces that refer to `copied` (headers and small payloads, for which a piece each would cost more than
/// the copy), to larger payloads where they are, and to constant zeros.
struct EncodedBlock {
  std::vector<std::byte> copied;
  std::vector<std::span<const std::byte>> pieces;
  int64_t bytes = 0;
  uint32_t chain = 0;  // After the last entry.
};

/// Where a block goes.
struct BlockPlace {
  Epoch epoch;
  Lsn durable;
  uint32_t chain = 0;  // Before the first entry.
  uint64_t salt = 0;
  int64_t position = 0;
};

/// Fills `block` from `entries`, whose LSNs follow each other; reuses its memory. Requires: not empty.
void EncodeBlock(const BlockPlace& place, std::span<const PendingEntry* const> entries, EncodedBlock* block);

/// A block read back. Payloads are slices of the buffer that DecodeBlock() was given.
struct Block {
  BlockHeader header{};
  std::vector<LoggedEntry> entries;
  uint32_t chain = 0;  // After the last entry.
};

/// Checks everything in `bytes`, a whole block whose header DecodeBlockHeader() accepted, and takes it
/// apart. Corruption says what is wrong.
Result<Block> DecodeBlock(const BlockHeader& header, const std::shared_ptr<arrow::Buffer>& bytes);

/// One of the two slots of the COMMIT file, kPageBytes each.
struct CommitSlot {
  std::array<char, 8> magic;
  uint32_t version;
  uint32_t crc;                         // CRC-32C of the fields after this one.
  uint64_t sequence;                    // The larger one counts. Slot = sequence % 2.
  uint64_t durable_lsn;
  uint64_t closed;                      // 1: written by a clean close, nothing follows.
  std::array<uint8_t, 16> database_id;
};
static_assert(sizeof(CommitSlot) == 56);
inline constexpr uint32_t kCommitVersion = 1;
inline constexpr std::array<char, 8> kCommitMagic = {'S', 'H', 'E', 'A', 'F', 'C', 'M', 'T'};

std::array<std::byte, kPageBytes> EncodeCommitSlot(CommitSlot slot);
std::optional<CommitSlot> DecodeCommitSlot(std::span<const std::byte> page);

}  // namespace sheaf::wal
