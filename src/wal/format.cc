#include "wal/format.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "core/crc32c.h"
#include "core/test_hooks.h"

namespace sheaf::wal {
namespace {

constexpr std::array<std::byte, kPageBytes> kZeros{};
/// Payloads up to this size are copied behind their headers.
constexpr int64_t kCopiedPayloadBytesMax = 4096;

/// An entry of version 1: header with batch id, and payload, are each padded to 64 bytes.
struct EntryHeaderVersion1 {
  uint32_t crc;  // CRC-32C of the fields after this one and of the batch id.
  uint32_t payload_bytes;
  uint64_t lsn;
  int64_t time_ns;
  uint8_t type;
  uint8_t batch_id_bytes;
  uint16_t reserved;
  uint32_t payload_crc;
};
static_assert(sizeof(EntryHeaderVersion1) == 32);
constexpr int64_t kAlignmentVersion1 = 64;

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

uint32_t EntryCrc(uint64_t lsn, const EntryHeader& header, std::string_view batch_id) {
  const uint32_t crc = ExtendCrc32c(Crc32c(BytesOf(lsn)), BytesOf(header).subspan(sizeof header.crc));
  return batch_id.empty() ? crc : ExtendCrc32c(crc, std::as_bytes(std::span(batch_id)));
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

bool IsDamage(const Status& error) {
  const ErrorKind kind = KindOf(error);
  return kind == ErrorKind::kCorruption || kind == ErrorKind::kUnsupported;
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
  if (header.version < 1 || header.version > kFormatVersion) {
    return MakeError(ErrorKind::kUnsupported, "log format {} is newer than {}, the newest that this program knows; use a newer one",
                     header.version, kFormatVersion);
  }
  return header;
}

std::optional<BlockHeader> DecodeBlockHeader(std::span<const std::byte> page, int64_t position, std::optional<uint64_t> salt) {
  if (page.size() < sizeof(BlockHeader)) return std::nullopt;
  const auto header = Load<BlockHeader>(page);
  if (header.magic != kBlockMagic && header.magic != kBlockMagicVersion1) return std::nullopt;
  if (header.position != static_cast<uint64_t>(position)) return std::nullopt;
  if (salt && header.salt != *salt) return std::nullopt;
  if (header.crc != CrcAfter(header, 8)) return std::nullopt;
  const bool sane = header.block_bytes % kPageBytes == 0 && header.block_bytes >= kPageBytes && header.block_bytes <= kBlockBytesMax &&
                    header.entries > 0 && header.entries < header.block_bytes / sizeof(EntryHeader) && header.first_lsn > 0;
  return sane ? std::optional(header) : std::nullopt;
}

int64_t BlockBytes(std::span<const PendingEntry* const> entries) {
  int64_t bytes = sizeof(BlockHeader);
  for (const PendingEntry* pending : entries) {
    const Entry& entry = pending->logged.entry;
    bytes = EntryEnd(bytes, entry.batch_id.size(), entry.payload->size());
  }
  return RoundUp(bytes, kPageBytes);
}

namespace {

/// Lays entries into a block, one after the other.
class BlockWriter {
 public:
  BlockWriter(const BlockPlace& place, std::span<const PendingEntry* const> entries, EncodedBlock* block) : block_(block) {
    size_t copied = sizeof(BlockHeader);  // At most: the vector must not move, since pieces point into it.
    for (const PendingEntry* pending : entries) {
      const Entry& entry = pending->logged.entry;
      copied += sizeof(EntryHeader) + entry.batch_id.size() + kPayloadAlignment + kEntryAlignment;
      if (entry.payload->size() <= kCopiedPayloadBytesMax) copied += static_cast<size_t>(entry.payload->size());
    }
    block_->copied.assign(copied, std::byte{0});
    block_->pieces.clear();
    block_->chain = place.chain;
  }

  void Add(const PendingEntry& pending) {
    const Entry& entry = pending.logged.entry;
    EntryHeader header{};
    header.payload_bytes = static_cast<uint32_t>(entry.payload->size());
    header.time_ns = pending.logged.time_ns;
    header.type = entry.type;
    header.batch_id_bytes = static_cast<uint8_t>(entry.batch_id.size());
    header.payload_crc = pending.payload_crc;
    header.crc = EntryCrc(pending.logged.lsn.value, header, entry.batch_id);
    block_->chain = NextChain(block_->chain, header.crc);
    std::byte* const to = block_->copied.data() + at_;
    std::memcpy(to, &header, sizeof header);
    std::memcpy(to + sizeof header, entry.batch_id.data(), entry.batch_id.size());
    const auto header_bytes =
        static_cast<size_t>(PayloadPosition(position_, entry.batch_id.size(), entry.payload->size()) - position_);
    entries_crc_ = ExtendCrc32c(entries_crc_, {to, header_bytes});
    at_ += header_bytes;
    AddPayload(*entry.payload);
    const int64_t end = EntryEnd(position_, entry.batch_id.size(), entry.payload->size());
    at_ += static_cast<size_t>(end - position_) - header_bytes - static_cast<size_t>(entry.payload->size());
    position_ = end;
  }

  /// Fills the block's last page with zeros.
  void Finish(int64_t block_bytes) {
    CutPiece();
    if (position_ < block_bytes) block_->pieces.push_back(std::span(kZeros).first(static_cast<size_t>(block_bytes - position_)));
  }

  uint32_t entries_crc() const { return entries_crc_; }

 private:
  void AddPayload(const arrow::Buffer& payload) {
    const auto size = static_cast<size_t>(payload.size());
    if (size == 0) return;
    if (payload.size() <= kCopiedPayloadBytesMax) {
      std::memcpy(block_->copied.data() + at_, payload.data(), size);
      at_ += size;
      return;
    }
    CutPiece();
    block_->pieces.push_back({reinterpret_cast<const std::byte*>(payload.data()), size});
  }
  void CutPiece() {
    if (cut_ < at_) block_->pieces.push_back(std::span(block_->copied).subspan(cut_, at_ - cut_));
    cut_ = at_;
  }

  EncodedBlock* const block_;  // Borrowed.
  size_t at_ = sizeof(BlockHeader), cut_ = 0;  // In `copied`; what is before cut_ is in a piece.
  int64_t position_ = sizeof(BlockHeader);     // In the block.
  uint32_t entries_crc_ = 0;
};

}  // namespace

void EncodeBlock(const BlockPlace& place, std::span<const PendingEntry* const> entries, EncodedBlock* block) {
  SHEAF_CHECK(!entries.empty());
  block->bytes = BlockBytes(entries);
  BlockWriter writer(place, entries, block);
  for (const PendingEntry* pending : entries) writer.Add(*pending);
  writer.Finish(block->bytes);

  BlockHeader header{};
  header.magic = kBlockMagic;
  header.block_bytes = static_cast<uint32_t>(block->bytes);
  header.entries = static_cast<uint32_t>(entries.size());
  header.epoch = place.epoch.value;
  header.first_lsn = entries.front()->logged.lsn.value;
  header.durable_lsn = place.durable.value;
  header.chain = place.chain;
  header.entries_crc = writer.entries_crc();
  header.salt = place.salt;
  header.position = static_cast<uint64_t>(place.position);
  header.crc = CrcAfter(header, 8);
  std::memcpy(block->copied.data(), &header, sizeof header);
}

namespace {

/// What both versions say of an entry, and where it lies in its block.
struct EntryFields {
  int64_t time_ns = 0;
  uint8_t type = 0;
  std::string_view batch_id;
  uint32_t crc = 0, payload_crc = 0;
  bool crc_fits = false;
  int64_t payload_at = 0, payload_bytes = 0, end = 0;
};

/// Reads the header of entry `lsn`, which begins at `at`; none where it cannot be one.
std::optional<EntryFields> ReadHeader(std::span<const std::byte> all, int64_t at, uint64_t lsn) {
  const auto rest = all.subspan(static_cast<size_t>(at));
  if (rest.size() < sizeof(EntryHeader)) return {};
  const auto header = Load<EntryHeader>(rest);
  if (header.reserved != 0 || header.batch_id_bytes > kBatchIdBytesMax) return {};
  EntryFields out{.time_ns = header.time_ns, .type = header.type, .crc = header.crc, .payload_crc = header.payload_crc};
  out.payload_at = PayloadPosition(at, header.batch_id_bytes, header.payload_bytes);
  out.payload_bytes = header.payload_bytes;
  out.end = EntryEnd(at, header.batch_id_bytes, header.payload_bytes);
  if (out.end > static_cast<int64_t>(all.size())) return {};
  out.batch_id = {reinterpret_cast<const char*>(rest.data() + sizeof header), header.batch_id_bytes};
  out.crc_fits = header.crc == EntryCrc(lsn, header, out.batch_id);
  return out;
}

std::optional<EntryFields> ReadHeaderVersion1(std::span<const std::byte> all, int64_t at, uint64_t lsn) {
  const auto rest = all.subspan(static_cast<size_t>(at));
  if (rest.size() < static_cast<size_t>(kAlignmentVersion1)) return {};
  const auto header = Load<EntryHeaderVersion1>(rest);
  if (header.lsn != lsn || header.reserved != 0 || header.batch_id_bytes > kBatchIdBytesMax) return {};
  EntryFields out{.time_ns = header.time_ns, .type = header.type, .crc = header.crc, .payload_crc = header.payload_crc};
  out.payload_at = at + RoundUp(static_cast<int64_t>(sizeof header) + header.batch_id_bytes, kAlignmentVersion1);
  out.payload_bytes = header.payload_bytes;
  out.end = out.payload_at + RoundUp(out.payload_bytes, kAlignmentVersion1);
  if (out.end > static_cast<int64_t>(all.size())) return {};
  out.batch_id = {reinterpret_cast<const char*>(rest.data() + sizeof header), header.batch_id_bytes};
  out.crc_fits = header.crc == ExtendCrc32c(CrcAfter(header, 4), std::as_bytes(std::span(out.batch_id)));
  return out;
}

/// Takes one entry apart from `bytes` at `*at`, and moves `*at` behind it.
Result<LoggedEntry> DecodeEntry(const std::shared_ptr<arrow::Buffer>& bytes, int64_t* at, uint64_t lsn, Block* block,
                                uint32_t* entries_crc) {
  const std::span<const std::byte> all(reinterpret_cast<const std::byte*>(bytes->data()), static_cast<size_t>(bytes->size()));
  const bool version1 = block->header.magic == kBlockMagicVersion1;
  const auto entry = version1 ? ReadHeaderVersion1(all, *at, lsn) : ReadHeader(all, *at, lsn);
  if (!entry) return MakeError(ErrorKind::kCorruption, "the header of entry {} is damaged", lsn);
  if (!entry->crc_fits) return MakeError(ErrorKind::kCorruption, "the header of entry {} fails its checksum", lsn);
  const auto part = [&all](int64_t from, int64_t to) { return all.subspan(static_cast<size_t>(from), static_cast<size_t>(to - from)); };
  const int64_t payload_end = entry->payload_at + entry->payload_bytes;
  if (entry->payload_crc != Crc32c(part(entry->payload_at, payload_end)) && !Mutant("crc_not_checked")) {
    return MakeError(ErrorKind::kCorruption, "the payload of entry {} fails its checksum", lsn);
  }
  if (!AllZero(part(payload_end, entry->end))) {
    return MakeError(ErrorKind::kCorruption, "the padding of entry {} is damaged", lsn);
  }
  *entries_crc = ExtendCrc32c(*entries_crc, part(*at, entry->payload_at));
  block->chain = NextChain(block->chain, entry->crc);
  *at = entry->end;
  return LoggedEntry{Lsn(lsn), entry->time_ns,
                     {entry->type, false, std::string(entry->batch_id),
                      arrow::SliceBuffer(bytes, entry->payload_at, entry->payload_bytes)}};
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
  slot.version = kCommitVersion;
  slot.crc = CrcAfter(slot, 16);
  std::array<std::byte, kPageBytes> page{};
  std::memcpy(page.data(), &slot, sizeof slot);
  return page;
}

std::optional<CommitSlot> DecodeCommitSlot(std::span<const std::byte> page) {
  if (page.size() < sizeof(CommitSlot)) return std::nullopt;
  const auto slot = Load<CommitSlot>(page);
  if (slot.magic != kCommitMagic || slot.version != kCommitVersion || slot.crc != CrcAfter(slot, 16)) return std::nullopt;
  return slot;
}

}  // namespace sheaf::wal
