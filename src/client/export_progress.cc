#include "client/export_progress.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "core/crc32c.h"

namespace sheaf::client {
namespace {

/// Start of a slot; the two sets of bits follow, the rest is zero. Little-endian.
struct SlotHeader {
  std::array<char, 8> magic;
  uint32_t version;
  uint32_t crc;  // CRC-32C of the whole slot with this field zero.
  uint64_t sequence;
  uint64_t through, perhaps_through;
  uint64_t closed;  // 1, or 0.
  std::array<char, DeliveryWindow::kBootBytes> boot;
};
static_assert(sizeof(SlotHeader) == 88);
constexpr std::array<char, 8> kMagic = {'S', 'H', 'E', 'A', 'F', 'S', 'N', 'T'};
constexpr uint32_t kVersion = 1;
constexpr size_t kBitsBytes = DeliveryWindow::kWindow / 8;
static_assert(sizeof(SlotHeader) + 2 * kBitsBytes <= DeliveryWindow::kSlotBytes);

using Bits = std::bitset<DeliveryWindow::kWindow>;

void PutBits(const Bits& bits, std::byte* out) {
  for (size_t i = 0; i < bits.size(); ++i) {
    if (bits[i]) out[i / 8] |= std::byte{1} << (i % 8);
  }
}

Bits GetBits(const std::byte* in) {
  Bits bits;
  for (size_t i = 0; i < bits.size(); ++i) bits[i] = (in[i / 8] & (std::byte{1} << (i % 8))) != std::byte{0};
  return bits;
}

/// Returns the header of a slot whose checksum is right, of whatever version.
std::optional<SlotHeader> ReadHeader(std::span<const std::byte> bytes) {
  if (bytes.size() < DeliveryWindow::kSlotBytes) return std::nullopt;
  std::array<std::byte, DeliveryWindow::kSlotBytes> slot;
  std::copy_n(bytes.data(), slot.size(), slot.data());
  SlotHeader header;
  std::memcpy(&header, slot.data(), sizeof header);
  const uint32_t crc = std::exchange(header.crc, 0);
  std::memcpy(slot.data(), &header, sizeof header);
  if (header.magic != kMagic || Crc32c(slot) != crc) return std::nullopt;
  return header;
}

}  // namespace

bool DeliveryWindow::delivered(uint64_t number) const {
  return number <= through_ || (InReach(number) && delivered_[At(number)]);
}
bool DeliveryWindow::begun(uint64_t number) const { return number > through_ && InReach(number) && begun_[At(number)]; }

uint64_t DeliveryWindow::highest() const {
  const Bits either = delivered_ | begun_;
  for (size_t i = kWindow; i > 0; --i) {
    if (either[i - 1]) return through_ + i;
  }
  return through_;
}

void DeliveryWindow::Begin(uint64_t number) { begun_.set(At(number)); }
void DeliveryWindow::Undo(uint64_t number) { begun_.reset(At(number)); }

void DeliveryWindow::Deliver(uint64_t number) {
  delivered_.set(At(number));
  if (number == through_ + 1) Slide();
}

void DeliveryWindow::AdvanceTo(uint64_t number) {
  if (number <= through_) return;
  const size_t by = static_cast<size_t>(std::min(number - through_, kWindow));
  delivered_ >>= by;
  begun_ >>= by;
  through_ = number;
  Slide();
}

void DeliveryWindow::Slide() {
  size_t by = 0;
  while (by < kWindow && delivered_[by]) ++by;
  delivered_ >>= by;
  begun_ >>= by;
  through_ += by;
}

std::array<std::byte, DeliveryWindow::kSlotBytes> DeliveryWindow::Encode(const Facts& facts) const {
  std::array<std::byte, kSlotBytes> slot{};
  SlotHeader header{.magic = kMagic, .version = kVersion, .crc = 0, .sequence = facts.sequence, .through = through_,
                    .perhaps_through = facts.perhaps_through, .closed = facts.closed ? uint64_t{1} : 0, .boot = facts.boot};
  PutBits(delivered_, slot.data() + sizeof header);
  PutBits(begun_, slot.data() + sizeof header + kBitsBytes);
  std::memcpy(slot.data(), &header, sizeof header);
  header.crc = Crc32c(slot);
  std::memcpy(slot.data(), &header, sizeof header);
  return slot;
}

std::optional<DeliveryWindow::Decoded> DeliveryWindow::Decode(std::span<const std::byte> slot) {
  const std::optional<SlotHeader> header = ReadHeader(slot);
  if (!header || header->version != kVersion) return std::nullopt;
  if (header->through > UINT64_MAX - kWindow - 1 || header->closed > 1) return std::nullopt;
  Decoded decoded{.window = DeliveryWindow(header->through),
                  .facts = {.sequence = header->sequence, .perhaps_through = header->perhaps_through, .boot = header->boot,
                            .closed = header->closed == 1}};
  decoded.window.delivered_ = GetBits(slot.data() + sizeof *header);
  decoded.window.begun_ = GetBits(slot.data() + sizeof *header + kBitsBytes);
  decoded.window.Slide();
  return decoded;
}

Result<std::unique_ptr<ExportProgress>> ExportProgress::Open(io::FileSystem* files, const std::string& path, const std::string& boot) {
  Result<std::shared_ptr<arrow::Buffer>> read = io::ReadFile(files, path, 1 << 20);
  const bool missing = !read.ok() && KindOf(read.status()) == ErrorKind::kNotFound;
  if (!missing) SHEAF_RETURN_NOT_OK(read.status());
  std::optional<DeliveryWindow::Decoded> best;
  if (!missing) {
    const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>((*read)->data()), static_cast<size_t>((*read)->size()));
    for (size_t slot = 0; slot < 2 && bytes.size() >= (slot + 1) * DeliveryWindow::kSlotBytes; ++slot) {
      const auto place = bytes.subspan(slot * DeliveryWindow::kSlotBytes);
      const auto header = ReadHeader(place);
      if (header && header->version > kVersion) {
        return MakeError(ErrorKind::kUnsupported, "{} is of version {}; this program knows {}: use the program that made it", path,
                         header->version, kVersion);
      }
      auto found = DeliveryWindow::Decode(place);
      if (found && found->facts.sequence % 2 == slot && (!best || found->facts.sequence > best->facts.sequence)) best = found;
    }
  }
  std::unique_ptr<ExportProgress> progress(new ExportProgress(files, path));
  DeliveryWindow::Facts& facts = progress->facts_;
  const bool knows_boot = !boot.empty() && boot != "unknown";
  if (knows_boot) std::copy_n(boot.data(), std::min(boot.size(), facts.boot.size()), facts.boot.data());
  progress->trusted_ = best && (best->facts.closed || (knows_boot && best->facts.boot == facts.boot));
  if (best) {
    progress->window_ = best->window;
    facts.sequence = best->facts.sequence;
    facts.perhaps_through = best->facts.perhaps_through;
  }
  return progress;
}

Status ExportProgress::Start(uint64_t last) {
  if (!trusted_) facts_.perhaps_through = std::max(facts_.perhaps_through, last);
  // A file of its own for each life: none is synced whose sync may have failed before.
  std::vector<std::byte> bytes(2 * DeliveryWindow::kSlotBytes);
  for (int slots = 0; slots < 2; ++slots) {
    ++facts_.sequence;
    const auto slot = window_.Encode(facts_);
    std::copy(slot.begin(), slot.end(), bytes.begin() + static_cast<int64_t>(facts_.sequence % 2 * DeliveryWindow::kSlotBytes));
  }
  SHEAF_RETURN_NOT_OK(io::WriteFileAtomically(files_, path_, bytes));
  return files_->Open(path_, io::OpenMode::kReadWrite).Value(&file_);
}

Status ExportProgress::Write() {
  // After a failure the same slot is written again: the other is the last that is whole.
  DeliveryWindow::Facts next = facts_;
  ++next.sequence;
  SHEAF_RETURN_NOT_OK(
      file_->WriteAt(static_cast<int64_t>(next.sequence % 2 * DeliveryWindow::kSlotBytes), window_.Encode(next)));
  facts_ = next;
  return Status::OK();
}

Status ExportProgress::Sync() {
  if (sync_failed_) return MakeError(ErrorKind::kIo, "{}: an earlier sync failed", path_);
  const Status synced = file_->SyncData();
  sync_failed_ = !synced.ok();
  return synced;
}

Status ExportProgress::Close() {
  if (file_ == nullptr) return Status::OK();
  facts_.closed = true;
  SHEAF_RETURN_NOT_OK(Write());
  return Sync();
}

}  // namespace sheaf::client
