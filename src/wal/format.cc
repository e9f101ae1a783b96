#include "wal/format.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "core/crc32c.h"

namespace sheaf::wal {
namespace {

constexpr std::array<std::byte, kPageBytes> kZeros{};

template <typename T>
std::span<const std::byte> BytesOf(const T& value) {
  return std::as_bytes(std::span<const T, 1>(&value, 1));
}

template <typename T>
T Load(std::span<const std::byte> from) {
  T value;
  std::memcpy(&value, from.data(), sizeof value);
  return value;
}

/// CRC of a struct from the field after its `crc` on, which ends at byte `after`.
template <typename T>
uint32_t CrcAfter(const T& value, size_t after) {
  return Crc32c(BytesOf(value).subspan(after));
}

bool AllZero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

uint32_t EntryCrc(const EntryHeader& header, std::string_view batch_id) {
  return ExtendCrc32c(CrcAfter(header, 4), std::as_bytes(std::span(batch_id)));
}

uint32_t SegmentCrc(std::array<std::byte, kPageBytes> page) {
  std::memset(page.data() + offsetof(SegmentHeader, crc), 0, sizeof(uint32_t));
  return Crc32c(page);
}

}  // namespace

bool SameDatabase(const std::array<uint8_t, 16>& a, const std::array<uint8_t, 16>& b) {
  constexpr std::array<uint8_t, 16> kNotTold{};
  return a == b || a == kNotTold || b == kNotTold;
}

uint32_t NextChain(uint32_t chain, uint32_t entry_crc) { return ExtendCrc32c(chain, BytesOf(entry_crc)); }

std::array<std::byte, kPageBytes> EncodeSegmentHeader(SegmentHeader header) {
  header.magic = kSegmentMagic;
  header.version = kFormatVersion;
  header.crc = 0;
  header.reserved = 0;
  std::array<std::byte, kPageBytes> page{};
  std::memcpy(page.data(), &header, sizeof header);
  header.crc = SegmentCrc(page);
  std::memcpy(page.data(), &header, sizeof header);
  return page;
}

Result<SegmentHeader> DecodeSegmentHeader(std::span<const std::byte> page) {
  if (page.size() < kPageBytes) return MakeError(ErrorKind::kCorruption, "the segment header is cut off after {} bytes", page.size());
  std::array<std::byte, kPageBytes> whole;
  std::copy_n(page.begin(), kPageBytes, whole.begin());
  const auto header = Load<SegmentHeader>(whole);
  if (header.magic != kSegmentMagic) return MakeError(ErrorKind::kCorruption, "this is no log segment (wrong magic)");
  if (header.crc != SegmentCrc(whole)) return MakeError(ErrorKind::kCorruption, "the segment header fails its checksum");
  if (header.version != kFormatVersion) {
    return MakeError(ErrorKind::kUnsupported, "log format {} is newer than {}, the newest that this program knows; use a newer one",
                     header.version, kFormatVersion);
  }
  return header;
}

std::optional<BlockHeader> DecodeBlockHeader(std::span<const std::byte> page, int64_t position, std::optional<uint64_t> salt) {
  if (page.size() < sizeof(BlockHeader)) return std::nullopt;
  const auto header = Load<BlockHeader>(page);
  if (header.magic != kBlockMagic || header.position != static_cast<uint64_t>(position)) return std::nullopt;
  if (salt && header.salt != *salt) return std::nullopt;
  if (header.crc != CrcAfter(header, 8)) return std::nullopt;
  const bool sane = header.block_bytes % kPageBytes == 0 && header.block_bytes >= kPageBytes && header.block_bytes <= kBlockBytesMax &&
                    header.entries > 0 && header.entries < header.block_bytes / kEntryAlignment && header.first_lsn > 0;
  return sane ? std::optional(header) : std::nullopt;
}

int64_t BlockBytes(std::span<const PendingEntry* const> entries) {
  int64_t bytes = sizeof(BlockHeader);
  for (const PendingEntry* pending : entries) {
    const Entry& entry = pending->logged.entry;
    bytes += EntryBytes(entry.batch_id.size(), entry.payload->size());
  }
  return RoundUp(bytes, kPageBytes);
}

void EncodeBlock(const BlockPlace& place, std::span<const PendingEntry* const> entries, EncodedBlock* block) {
  SHEAF_CHECK(!entries.empty());
  int64_t header_bytes = sizeof(BlockHeader);
  for (const PendingEntry* pending : entries) header_bytes += EntryHeaderBytes(pending->logged.entry.batch_id.size());
  block->headers.assign(static_cast<size_t>(header_bytes), std::byte{0});  // All of it now: pieces point into it.
  block->pieces.clear();
  block->bytes = BlockBytes(entries);
  block->chain = place.chain;

  const std::span<std::byte> headers(block->headers);
  size_t at = sizeof(BlockHeader), unsent = 0;  // Headers from `unsent` on are in no piece yet.
  int64_t written = sizeof(BlockHeader);
  for (const PendingEntry* pending : entries) {
    const Entry& entry = pending->logged.entry;
    EntryHeader header{};
    header.payload_bytes = static_cast<uint32_t>(entry.payload->size());
    header.lsn = pending->logged.lsn.value;
    header.time_ns = pending->logged.time_ns;
    header.type = entry.type;
    header.batch_id_bytes = static_cast<uint8_t>(entry.batch_id.size());
    header.payload_crc = pending->payload_crc;
    header.crc = EntryCrc(header, entry.batch_id);
    block->chain = NextChain(block->chain, header.crc);
    std::memcpy(headers.data() + at, &header, sizeof header);
    std::memcpy(headers.data() + at + sizeof header, entry.batch_id.data(), entry.batch_id.size());
    at += static_cast<size_t>(EntryHeaderBytes(entry.batch_id.size()));
    written += EntryBytes(entry.batch_id.size(), entry.payload->size());
    if (entry.payload->size() == 0) continue;
    block->pieces.push_back(headers.subspan(unsent, at - unsent));
    unsent = at;
    const std::span<const std::byte> payload(reinterpret_cast<const std::byte*>(entry.payload->data()),
                                             static_cast<size_t>(entry.payload->size()));
    block->pieces.push_back(payload);
    const auto padding = static_cast<size_t>(RoundUp(entry.payload->size(), kEntryAlignment) - entry.payload->size());
    if (padding > 0) block->pieces.push_back(std::span(kZeros).first(padding));
  }
  if (unsent < at) block->pieces.push_back(headers.subspan(unsent, at - unsent));
  if (written < block->bytes) block->pieces.push_back(std::span(kZeros).first(static_cast<size_t>(block->bytes - written)));

  BlockHeader header{};
  header.magic = kBlockMagic;
  header.block_bytes = static_cast<uint32_t>(block->bytes);
  header.entries = static_cast<uint32_t>(entries.size());
  header.epoch = place.epoch.value;
  header.first_lsn = entries.front()->logged.lsn.value;
  header.durable_lsn = place.durable.value;
  header.chain = place.chain;
  header.entries_crc = Crc32c(headers.subspan(sizeof header));
  header.salt = place.salt;
  header.position = static_cast<uint64_t>(place.position);
  header.crc = CrcAfter(header, 8);
  std::memcpy(headers.data(), &header, sizeof header);
}

namespace {

/// Takes one entry apart from `bytes` at `*at`, and moves `*at` behind it.
Result<LoggedEntry> DecodeEntry(const std::shared_ptr<arrow::Buffer>& bytes, int64_t* at, uint64_t lsn, Block* block,
                                uint32_t* entries_crc) {
  const std::span<const std::byte> all(reinterpret_cast<const std::byte*>(bytes->data()), static_cast<size_t>(bytes->size()));
  const auto rest = all.subspan(static_cast<size_t>(*at));
  if (rest.size() < kEntryAlignment) return MakeError(ErrorKind::kCorruption, "entry {} begins beyond the end of its block", lsn);
  const auto header = Load<EntryHeader>(rest);
  const auto header_bytes = static_cast<size_t>(EntryHeaderBytes(header.batch_id_bytes));
  const int64_t entry_bytes = EntryBytes(header.batch_id_bytes, header.payload_bytes);
  if (header.lsn != lsn || header.reserved != 0 || header.batch_id_bytes > kBatchIdBytesMax ||
      entry_bytes > static_cast<int64_t>(rest.size())) {
    return MakeError(ErrorKind::kCorruption, "the header of entry {} is damaged", lsn);
  }
  const std::string batch_id(reinterpret_cast<const char*>(rest.data() + sizeof header), header.batch_id_bytes);
  const auto payload = rest.subspan(header_bytes, header.payload_bytes);
  if (header.crc != EntryCrc(header, batch_id)) return MakeError(ErrorKind::kCorruption, "the header of entry {} fails its checksum", lsn);
  if (header.payload_crc != Crc32c(payload)) return MakeError(ErrorKind::kCorruption, "the payload of entry {} fails its checksum", lsn);
  const size_t end = header_bytes + header.payload_bytes;
  if (!AllZero(rest.subspan(end, static_cast<size_t>(entry_bytes) - end))) {
    return MakeError(ErrorKind::kCorruption, "the padding of entry {} is damaged", lsn);
  }
  *entries_crc = ExtendCrc32c(*entries_crc, rest.first(header_bytes));
  block->chain = NextChain(block->chain, header.crc);
  const int64_t payload_at = *at + static_cast<int64_t>(header_bytes);
  *at += entry_bytes;
  return LoggedEntry{Lsn(lsn), header.time_ns, {header.type, false, batch_id, arrow::SliceBuffer(bytes, payload_at, header.payload_bytes)}};
}

}  // namespace

Result<Block> DecodeBlock(const BlockHeader& header, const std::shared_ptr<arrow::Buffer>& bytes) {
  SHEAF_CHECK(bytes->size() == header.block_bytes);
  Block block;
  block.header = header;
  block.chain = header.chain;
  block.entries.reserve(header.entries);
  int64_t at = sizeof(BlockHeader);
  uint32_t entries_crc = 0;
  for (uint32_t i = 0; i < header.entries; ++i) {
    SHEAF_ASSIGN_OR_RETURN(LoggedEntry entry, DecodeEntry(bytes, &at, header.first_lsn + i, &block, &entries_crc));
    block.entries.push_back(std::move(entry));
  }
  if (entries_crc != header.entries_crc) return MakeError(ErrorKind::kCorruption, "the entry headers fail the checksum of their block");
  const std::span<const std::byte> all(reinterpret_cast<const std::byte*>(bytes->data()), static_cast<size_t>(bytes->size()));
  if (bytes->size() - at >= kPageBytes || !AllZero(all.subspan(static_cast<size_t>(at)))) {
    return MakeError(ErrorKind::kCorruption, "the padding of the block is damaged");
  }
  return block;
}

std::array<std::byte, kPageBytes> EncodeCommitSlot(CommitSlot slot) {
  slot.magic = kCommitMagic;
  slot.version = kFormatVersion;
  slot.crc = CrcAfter(slot, 16);
  std::array<std::byte, kPageBytes> page{};
  std::memcpy(page.data(), &slot, sizeof slot);
  return page;
}

std::optional<CommitSlot> DecodeCommitSlot(std::span<const std::byte> page) {
  if (page.size() < sizeof(CommitSlot)) return std::nullopt;
  const auto slot = Load<CommitSlot>(page);
  if (slot.magic != kCommitMagic || slot.version != kFormatVersion || slot.crc != CrcAfter(slot, 16)) return std::nullopt;
  return slot;
}

}  // namespace sheaf::wal
