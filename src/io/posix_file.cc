#include "io/posix_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <utility>

#include "io/posix.h"
#include "io/posix_error.h"

namespace sheaf::io {
namespace {

/// A read-only mapping, unmapped when the last buffer that refers to it goes.
class Mapping : public arrow::Buffer {
 public:
  Mapping(void* address, int64_t length) : arrow::Buffer(static_cast<const uint8_t*>(address), length), address_(address) {}
  ~Mapping() override { ::munmap(address_, static_cast<size_t>(size_)); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

 private:
  void* const address_;
};

int Advice(Access access) {
  switch (access) {
    case Access::kSequential: return MADV_SEQUENTIAL;
    case Access::kRandom: return MADV_RANDOM;
    case Access::kNormal: break;
  }
  return MADV_NORMAL;
}

class PosixFile : public File {
 public:
  PosixFile(int descriptor, std::string path) : descriptor_(descriptor), path_(std::move(path)) {}
  ~PosixFile() override {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  PosixFile(const PosixFile&) = delete;
  PosixFile& operator=(const PosixFile&) = delete;

  Result<int64_t> ReadAt(int64_t offset, std::span<std::byte> out) override {
    size_t done = 0;
    while (done < out.size()) {
      const ssize_t n = Uninterrupted(
          [&] { return ::pread(descriptor_, out.data() + done, out.size() - done, offset + static_cast<int64_t>(done)); });
      if (n < 0) return PosixError(errno, "read", path_);
      if (n == 0) break;
      done += static_cast<size_t>(n);
    }
    return static_cast<int64_t>(done);
  }

  using File::WriteAt;
  Status WriteAt(int64_t offset, std::span<const std::span<const std::byte>> parts) override {
    std::array<struct iovec, kPiecesPerCall> pieces;
    size_t next = 0, skip = 0;  // First part not wholly written, and how much of it is.
    while (true) {
      while (next < parts.size() && skip == parts[next].size()) ++next, skip = 0;
      if (next == parts.size()) return Status::OK();
      size_t count = 0;
      for (size_t i = next; i < parts.size() && count < pieces.size(); ++i) {
        const size_t from = i == next ? skip : 0;
        if (parts[i].size() == from) continue;
        pieces[count++] = {const_cast<std::byte*>(parts[i].data() + from), parts[i].size() - from};
      }
      const ssize_t n = Uninterrupted([&] { return ::pwritev(descriptor_, pieces.data(), static_cast<int>(count), offset); });
      if (n < 0) return PosixError(errno, "write", path_);
      if (n == 0) return MakeError(ErrorKind::kIo, "write {}: the system wrote nothing at offset {}", path_, offset);
      offset += n;
      for (size_t left = static_cast<size_t>(n); left > 0;) {
        const size_t step = std::min(left, parts[next].size() - skip);
        left -= step;
        skip += step;
        if (skip == parts[next].size()) ++next, skip = 0;
      }
    }
  }

  Status Allocate(int64_t length) override {
    if (Uninterrupted([&] { return ::fallocate(descriptor_, 0, 0, length); }) == 0) return Status::OK();
    if (errno != EOPNOTSUPP && errno != ENOSYS) return PosixError(errno, "allocate", path_);
    return WriteZerosUpTo(length);
  }

  Status Truncate(int64_t length) override {
    if (Uninterrupted([&] { return ::ftruncate(descriptor_, length); }) != 0) return PosixError(errno, "truncate", path_);
    return Status::OK();
  }

  Status SyncData() override {
    if (Uninterrupted([&] { return ::fdatasync(descriptor_); }) != 0) return PosixError(errno, "fdatasync", path_);
    return Status::OK();
  }

  Status Sync() override {
    if (Uninterrupted([&] { return ::fsync(descriptor_); }) != 0) return PosixError(errno, "fsync", path_);
    return Status::OK();
  }

  Result<int64_t> Size() override {
    struct stat info {};
    if (::fstat(descriptor_, &info) != 0) return PosixError(errno, "stat", path_);
    return static_cast<int64_t>(info.st_size);
  }

  Result<std::shared_ptr<arrow::Buffer>> Map(int64_t length, Access access) override {
    SHEAF_ASSIGN_OR_RETURN(const int64_t size, Size());
    if (length > size) {
      return MakeError(ErrorKind::kInvalid, "map {}: {} bytes wanted, but the file has {}", path_, length, size);
    }
    if (length == 0) return std::make_shared<arrow::Buffer>(nullptr, 0);
    void* address = ::mmap(nullptr, static_cast<size_t>(length), PROT_READ, MAP_SHARED, descriptor_, 0);
    if (address == MAP_FAILED) return PosixError(errno, "map", path_);
    ::madvise(address, static_cast<size_t>(length), Advice(access));  // Advice only: its failure changes nothing.
    return std::make_shared<Mapping>(address, length);
  }

  Status BypassCache() override {
    const int flags = ::fcntl(descriptor_, F_GETFL);
    if (flags >= 0 && ::fcntl(descriptor_, F_SETFL, flags | O_DIRECT) == 0) return Status::OK();
    if (errno == EINVAL) return MakeError(ErrorKind::kUnsupported, "{}: this file system has no direct I/O", path_);
    return PosixError(errno, "set direct", path_);
  }

  Status Close() override {
    if (descriptor_ < 0) return Status::OK();
    // Never again after EINTR: Linux has released the descriptor by then.
    if (::close(std::exchange(descriptor_, -1)) != 0 && errno != EINTR) return PosixError(errno, "close", path_);
    return Status::OK();
  }

  const std::string& path() const override { return path_; }

 private:
  static constexpr size_t kPiecesPerCall = 256;  // Well below IOV_MAX (1024); the array lives on the stack.

  /// For file systems without fallocate.
  Status WriteZerosUpTo(int64_t length) {
    static constexpr std::array<std::byte, 64 << 10> kZeros{};
    SHEAF_ASSIGN_OR_RETURN(int64_t end, Size());
    while (end < length) {
      const auto step = std::min<int64_t>(length - end, kZeros.size());
      SHEAF_RETURN_NOT_OK(WriteAt(end, std::span(kZeros).first(static_cast<size_t>(step))));
      end += step;
    }
    return Status::OK();
  }

  int descriptor_;  // -1 once closed.
  const std::string path_;
};

}  // namespace

Result<std::unique_ptr<File>> OpenPosixFile(const std::string& path, OpenMode mode) {
  int flags = O_CLOEXEC;
  switch (mode) {
    case OpenMode::kRead: flags |= O_RDONLY; break;
    case OpenMode::kCreate: flags |= O_RDWR | O_CREAT | O_EXCL; break;
    case OpenMode::kReadWrite: flags |= O_RDWR; break;
  }
  const int descriptor = Uninterrupted([&] { return ::open(path.c_str(), flags, 0640); });
  if (descriptor < 0) return PosixError(errno, mode == OpenMode::kCreate ? "create" : "open", path);
  return std::make_unique<PosixFile>(descriptor, path);
}

std::unique_ptr<File> MakePosixFile(int descriptor, std::string path) { return std::make_unique<PosixFile>(descriptor, std::move(path)); }

void ReadAhead(std::span<const uint8_t> bytes) {
  if (bytes.empty()) return;
  static const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t begin = reinterpret_cast<uintptr_t>(bytes.data()) / page * page;
  const uintptr_t end = reinterpret_cast<uintptr_t>(bytes.data() + bytes.size());
  auto* const first = reinterpret_cast<void*>(begin);
  unsigned char resident = 0;
  // Asking for pages that are there costs more than looking at one of them.
  if (::mincore(first, page, &resident) != 0 || (resident & 1) != 0) return;
  ::madvise(first, end - begin, MADV_WILLNEED);
}

}  // namespace sheaf::io
