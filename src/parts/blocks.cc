#include "parts/blocks.h"

#include <algorithm>
#include <span>
#include <utility>

#include <xxhash.h>

#include "core/check.h"
#include "io/posix.h"

namespace sheaf::parts {
namespace {

constexpr size_t kGatherBytes = size_t{1} << 20;
static_assert(kGatherBytes % kBlockBytes == 0);

uint64_t SumOf(const void* bytes, size_t size) { return XXH3_64bits(bytes, size); }

}  // namespace

std::vector<uint64_t> BlockSums(std::string_view bytes) {
  std::vector<uint64_t> sums;
  for (size_t at = 0; at < bytes.size(); at += kBlockBytes) {
    const std::string_view block = bytes.substr(at, kBlockBytes);
    sums.push_back(SumOf(block.data(), block.size()));
  }
  return sums;
}

std::string DigestOf(const std::vector<uint64_t>& sums) {
  XXH128_canonical_t out;
  XXH128_canonicalFromHash(&out, XXH3_128bits(sums.data(), sums.size() * sizeof(uint64_t)));
  return std::string(reinterpret_cast<const char*>(out.digest), sizeof out.digest);
}

SummingStream::SummingStream(io::File* file) : file_(file) {
  gathered_.reserve(kGatherBytes);
  set_mode(arrow::io::FileMode::WRITE);
}

arrow::Status SummingStream::Drain(size_t bytes) {
  if (bytes == 0) return Status::OK();
  const std::string_view out = std::string_view(gathered_).substr(0, bytes);
  for (const uint64_t sum : BlockSums(out)) sums_.push_back(sum);
  SHEAF_RETURN_NOT_OK(file_->WriteAt(flushed_, std::as_bytes(std::span(out.data(), out.size()))));
  flushed_ += static_cast<int64_t>(bytes);
  gathered_.erase(0, bytes);
  return Status::OK();
}

arrow::Status SummingStream::Write(const void* data, int64_t bytes) {
  SHEAF_CHECK(!closed_);
  const char* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const size_t now = std::min(kGatherBytes - gathered_.size(), static_cast<size_t>(bytes));
    gathered_.append(from, now);
    from += now;
    bytes -= static_cast<int64_t>(now);
    if (gathered_.size() == kGatherBytes) SHEAF_RETURN_NOT_OK(Drain(kGatherBytes));
  }
  return Status::OK();
}

arrow::Status SummingStream::Close() {
  if (closed_) return Status::OK();
  closed_ = true;
  return Drain(gathered_.size());
}

CheckedBytes::CheckedBytes(std::shared_ptr<arrow::Buffer> bytes, std::vector<uint64_t> sums, std::string name, int64_t base)
    : bytes_(std::move(bytes)), sums_(std::move(sums)), name_(std::move(name)), base_(base), checked_((sums_.size() + 63) / 64) {
  SHEAF_CHECK(static_cast<int64_t>(sums_.size()) == (bytes_->size() + kBlockBytes - 1) / kBlockBytes);
}

void CheckedBytes::ReadAhead(int64_t offset, int64_t bytes) const {
  if (offset < 0 || bytes < 0 || offset > size() - bytes) return;
  io::ReadAhead({data() + offset, static_cast<size_t>(bytes)});
}

Status CheckedBytes::CheckBlock(size_t block) const {
  const int64_t at = static_cast<int64_t>(block) * kBlockBytes;
  const int64_t size = std::min(kBlockBytes, bytes_->size() - at);
  if (SumOf(bytes_->data() + at, static_cast<size_t>(size)) == sums_[block]) return Status::OK();
  return MakeError(ErrorKind::kCorruption,
                   "{}: block {} (bytes {} to {}) is damaged: its checksum does not match; restore the file from a copy", name_, block,
                   base_ + at, base_ + at + size - 1);
}

Status CheckedBytes::Check(int64_t offset, int64_t bytes) const {
  if (bytes <= 0) return Status::OK();
  SHEAF_CHECK(offset >= 0 && offset + bytes <= bytes_->size());
  const auto last = static_cast<size_t>((offset + bytes - 1) / kBlockBytes);
  for (auto block = static_cast<size_t>(offset / kBlockBytes); block <= last; ++block) {
    std::atomic<uint64_t>& word = checked_[block / 64];
    const uint64_t bit = uint64_t{1} << (block % 64);
    if ((word.load(std::memory_order_relaxed) & bit) != 0) continue;
    SHEAF_RETURN_NOT_OK(CheckBlock(block));
    word.fetch_or(bit, std::memory_order_relaxed);
  }
  return Status::OK();
}

}  // namespace sheaf::parts
