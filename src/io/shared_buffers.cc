#include "io/shared_buffers.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <utility>

#include "io/arrow_io.h"
#include "io/posix.h"
#include "io/posix_descriptor.h"
#include "io/posix_error.h"
#include "io/posix_file.h"

namespace sheaf::io {
namespace {

constexpr char kGateName[] = ".lock";  // Locked while names come, go or are looked up.
constexpr char kNextName[] = ".next";  // What is about to replace a name; of the one that holds the gate.
constexpr off_t kSlots = off_t{1} << 60;  // First of the bytes that holders lock: far behind any that are stored.

/// One process, and one thread of it, at a time: released with the object, or by the system when the process dies.
Result<Descriptor> EnterGate(const std::string& folder) {
  const std::string path = Join(folder, kGateName);
  Descriptor gate(Uninterrupted([&] { return ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600); }));
  if (gate.get() < 0) return PosixError(errno, "open lock", path);
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  if (Uninterrupted([&] { return ::fcntl(gate.get(), F_OFD_SETLKW, &whole); }) != 0) return PosixError(errno, "lock", path);
  return gate;
}

/// A slot of [begin, end) that another than `descriptor` has locked; -1: none.
Result<int64_t> LockedSlot(int descriptor, int64_t begin, int64_t end, const std::string& path) {
  struct flock range {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  range.l_start = kSlots + begin;
  range.l_len = end - begin;
  if (::fcntl(descriptor, F_OFD_GETLK, &range) != 0) return PosixError(errno, "look at locks of", path);
  return range.l_type == F_UNLCK ? -1 : range.l_start - kSlots;
}

/// How many others than `descriptor` hold the buffer.
Result<int64_t> Holders(int descriptor, const std::string& path) {
  int64_t holders = 0;
  std::vector<std::pair<int64_t, int64_t>> ranges = {{0, SharedBuffers::kHoldersMax}};
  while (!ranges.empty()) {  // The system names one lock of a range, not the first of it.
    const auto [begin, end] = ranges.back();
    ranges.pop_back();
    if (begin >= end) continue;
    SHEAF_ASSIGN_OR_RETURN(const int64_t slot, LockedSlot(descriptor, begin, end, path));
    if (slot < 0) continue;
    ++holders;
    ranges.emplace_back(begin, slot);
    ranges.emplace_back(slot + 1, end);
  }
  return holders;
}

/// Locks a slot that is free.
Status TakeSlot(int descriptor, const std::string& path) {
  static std::atomic<int64_t> next = ::getpid();  // Where others are unlikely to be.
  for (int64_t tries = 0; tries < SharedBuffers::kHoldersMax; ++tries) {
    struct flock slot {};
    slot.l_type = F_WRLCK;
    slot.l_whence = SEEK_SET;
    slot.l_start = kSlots + next.fetch_add(1, std::memory_order_relaxed) % SharedBuffers::kHoldersMax;
    slot.l_len = 1;
    if (::fcntl(descriptor, F_OFD_SETLK, &slot) == 0) return Status::OK();
    if (errno != EAGAIN && errno != EACCES) return PosixError(errno, "hold", path);
  }
  return MakeError(ErrorKind::kThrottled, "{}: {} views hold it already; release some of them", path, SharedBuffers::kHoldersMax);
}

/// Opens a buffer that has a name. Requires: the gate is held.
Result<Descriptor> OpenNamed(const std::string& path) {
  Descriptor file(Uninterrupted([&] { return ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW); }));
  if (file.get() < 0 && errno == ENOENT) {
    return MakeError(ErrorKind::kNotFound, "{}: there is no shared buffer of this name; its last holder may have gone", path);
  }
  if (file.get() < 0) return PosixError(errno, "open shared buffer", path);
  return file;
}

Result<struct stat> StatOf(int descriptor, const std::string& path) {
  struct stat info {};
  if (::fstat(descriptor, &info) != 0) return PosixError(errno, "stat", path);
  return info;
}

/// Removes the name if nobody holds what it names; true if so. `number`: only if it is this file; 0: any.
/// Requires: the gate is held.
Result<bool> RemoveIfUnused(const std::string& path, uint64_t number) {
  auto file = OpenNamed(path);
  if (!file.ok()) return KindOf(file.status()) == ErrorKind::kNotFound ? Result<bool>(false) : file.status();
  SHEAF_ASSIGN_OR_RETURN(const struct stat info, StatOf(file->get(), path));
  if (number != 0 && info.st_ino != number) return false;
  SHEAF_ASSIGN_OR_RETURN(const int64_t held, LockedSlot(file->get(), 0, SharedBuffers::kHoldersMax, path));
  if (held >= 0) return false;
  if (::unlink(path.c_str()) != 0) return PosixError(errno, "remove shared buffer", path);
  return true;
}

/// Holds a slot as long as it lives.
class HeldBuffer : public arrow::Buffer {
 public:
  HeldBuffer(void* address, int64_t bytes, Descriptor file, std::string folder, std::string path, uint64_t number)
      : arrow::Buffer(static_cast<const uint8_t*>(address), bytes),
        address_(address), file_(file.Release()), folder_(std::move(folder)), path_(std::move(path)), number_(number) {}

  ~HeldBuffer() override {
    ::munmap(address_, static_cast<size_t>(size_));
    const auto gate = EnterGate(folder_);
    ::close(file_);  // And with it the slot, unless a forked process has the descriptor, too.
    // What cannot be removed now, RemoveUnused() finds later; a destructor has nobody to tell.
    if (gate.ok()) (void)RemoveIfUnused(path_, number_);
  }
  HeldBuffer(const HeldBuffer&) = delete;
  HeldBuffer& operator=(const HeldBuffer&) = delete;

 private:
  void* const address_;
  const int file_;
  const std::string folder_, path_;
  const uint64_t number_;
};

/// Counts what is written, and refuses what is too much.
class LimitedStream : public arrow::io::OutputStream {
 public:
  LimitedStream(std::shared_ptr<arrow::io::OutputStream> to, int64_t bytes_max) : to_(std::move(to)), bytes_max_(bytes_max) {}

  Status Write(const void* data, int64_t bytes) override {
    SHEAF_ASSIGN_OR_RETURN(const int64_t written, to_->Tell());
    if (bytes > bytes_max_ - written) {
      return MakeError(ErrorKind::kTooLarge, "shared buffer: {} bytes are more than the {} that are left of the limit for the folder",
                       written + bytes, bytes_max_);
    }
    return to_->Write(data, bytes);
  }
  Status Flush() override { return to_->Flush(); }
  Status Close() override { return to_->Close(); }
  bool closed() const override { return to_->closed(); }
  Result<int64_t> Tell() const override { return to_->Tell(); }

 private:
  const std::shared_ptr<arrow::io::OutputStream> to_;
  const int64_t bytes_max_;
};

class Unnamed : public NewSharedBuffer {
 public:
  Unnamed(int descriptor, const std::string& folder, int64_t bytes_max)
      : file_(MakePosixFile(descriptor, Join(folder, "(unnamed)"))),
        stream_(MakeOutputStream(file_.get()), bytes_max),
        descriptor_(descriptor) {}

  arrow::io::OutputStream* stream() override { return &stream_; }
  int descriptor() const { return descriptor_; }

 private:
  const std::unique_ptr<File> file_;  // Owns the descriptor.
  LimitedStream stream_;
  const int descriptor_;
};

Status CheckName(const std::string& name) {
  const auto plain = [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.'; };
  if (!name.empty() && name.size() <= SharedBuffers::kNameBytesMax && name[0] != '.' && std::all_of(name.begin(), name.end(), plain)) {
    return Status::OK();
  }
  return MakeError(ErrorKind::kInvalid, "\"{}\" is no name of a shared buffer: use up to {} letters, digits, '_', '-' and '.' (not first)",
                   name.substr(0, SharedBuffers::kNameBytesMax), SharedBuffers::kNameBytesMax);
}

Status CheckFolder(const std::string& folder) {
  const Descriptor opened(Uninterrupted([&] { return ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW); }));
  if (opened.get() < 0) return PosixError(errno, "open folder", folder);
  SHEAF_ASSIGN_OR_RETURN(const struct stat info, StatOf(opened.get(), folder));
  if (info.st_uid == ::geteuid() && (info.st_mode & 077) == 0) return Status::OK();
  return MakeError(ErrorKind::kDenied,
                   "{}: shared buffers need a folder of user {} that is closed to others (mode 0700); it is of user {}, its mode {:o}",
                   folder, ::geteuid(), info.st_uid, info.st_mode & 0777);
}

/// Of all that have a name.
Result<int64_t> BytesIn(const std::string& folder) {
  SHEAF_ASSIGN_OR_RETURN(const auto files, PosixFileSystem()->List(folder));
  int64_t bytes = 0;
  for (const FileInfo& file : files) bytes += file.bytes;
  return bytes;
}

}  // namespace

Result<std::shared_ptr<SharedBuffers>> SharedBuffers::Open(const SharedBuffersOptions& options) {
  const std::string folder = options.folder.empty() ? fmt::format("/dev/shm/sheaf-{}", ::geteuid()) : options.folder;
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return PosixError(errno, "make folder", folder);
  SHEAF_RETURN_NOT_OK(CheckFolder(folder));
  std::shared_ptr<SharedBuffers> buffers(new SharedBuffers(folder, options.bytes_max));
  SHEAF_RETURN_NOT_OK(buffers->RemoveUnused());
  return buffers;
}

Result<std::unique_ptr<NewSharedBuffer>> SharedBuffers::Create() {
  int64_t left = INT64_MAX;
  if (bytes_max_ > 0) {
    SHEAF_RETURN_NOT_OK(RemoveUnused());
    SHEAF_ASSIGN_OR_RETURN(const int64_t used, BytesIn(folder_));
    left = std::max<int64_t>(bytes_max_ - used, 0);
  }
  Descriptor file(Uninterrupted([&] { return ::open(folder_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); }));
  if (file.get() < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
    return MakeError(ErrorKind::kUnsupported, "{}: this file system has no unnamed files (O_TMPFILE); use a folder in /dev/shm", folder_);
  }
  if (file.get() < 0) return PosixError(errno, "make a shared buffer in", folder_);
  return std::make_unique<Unnamed>(file.Release(), folder_, left);
}

Result<std::shared_ptr<arrow::Buffer>> SharedBuffers::Publish(std::unique_ptr<NewSharedBuffer> written, const std::string& name,
                                                              NameTaken taken) {
  SHEAF_RETURN_NOT_OK(CheckName(name));
  auto* const unnamed = static_cast<Unnamed*>(written.get());
  SHEAF_RETURN_NOT_OK(unnamed->stream()->Flush());
  SHEAF_ASSIGN_OR_RETURN(const struct stat info, StatOf(unnamed->descriptor(), folder_));
  if (info.st_size == 0) return MakeError(ErrorKind::kInvalid, "shared buffer {}: nothing was written to it", name);
  const std::string path = Join(folder_, name), next = Join(folder_, kNextName);
  const std::string opened = fmt::format("/proc/self/fd/{}", unnamed->descriptor());
  SHEAF_ASSIGN_OR_RETURN(const Descriptor gate, EnterGate(folder_));
  if (bytes_max_ > 0) {  // Others may have published since Create().
    SHEAF_ASSIGN_OR_RETURN(const int64_t used, BytesIn(folder_));
    if (info.st_size > bytes_max_ - used) {
      return MakeError(ErrorKind::kTooLarge, "shared buffer {}: {} bytes beside {} others are more than the folder's limit of {}", name,
                       info.st_size, used, bytes_max_);
    }
  }
  if (taken == NameTaken::kRefuse) {
    SHEAF_RETURN_NOT_OK(RemoveIfUnused(path, 0));  // What a killed process left does not keep a name.
    if (::linkat(AT_FDCWD, opened.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) != 0) {
      return PosixError(errno, "publish shared buffer", path);
    }
  } else {
    if (::unlink(next.c_str()) != 0 && errno != ENOENT) return PosixError(errno, "remove", next);
    if (::linkat(AT_FDCWD, opened.c_str(), AT_FDCWD, next.c_str(), AT_SYMLINK_FOLLOW) != 0) {
      return PosixError(errno, "publish shared buffer", path);
    }
    if (::rename(next.c_str(), path.c_str()) != 0) return PosixError(errno, "publish shared buffer", path);
  }
  // A description of its own: the writer's goes with the writer.
  SHEAF_ASSIGN_OR_RETURN(Descriptor file, OpenNamed(path));
  return ViewOf(path, file.Release());
}

Result<std::shared_ptr<arrow::Buffer>> SharedBuffers::Get(const std::string& name) {
  SHEAF_RETURN_NOT_OK(CheckName(name));
  const std::string path = Join(folder_, name);
  SHEAF_ASSIGN_OR_RETURN(const Descriptor gate, EnterGate(folder_));
  SHEAF_ASSIGN_OR_RETURN(Descriptor file, OpenNamed(path));
  return ViewOf(path, file.Release());
}

Result<std::shared_ptr<arrow::Buffer>> SharedBuffers::ViewOf(const std::string& path, int descriptor) {
  Descriptor file(descriptor);
  SHEAF_ASSIGN_OR_RETURN(const struct stat info, StatOf(file.get(), path));
  MutexLock lock(&mutex_);
  std::erase_if(views_, [](const auto& view) { return view.second.expired(); });
  // Its number cannot belong to another file: a view keeps its own open.
  if (const auto found = views_.find(info.st_ino); found != views_.end()) {
    if (auto view = found->second.lock()) return view;
  }
  if (info.st_size == 0) return MakeError(ErrorKind::kCorruption, "{}: a shared buffer without bytes", path);
  SHEAF_RETURN_NOT_OK(TakeSlot(file.get(), path));
  void* const address = ::mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_SHARED, file.get(), 0);
  if (address == MAP_FAILED) return PosixError(errno, "map shared buffer", path);
  auto view = std::make_shared<HeldBuffer>(address, info.st_size, std::move(file), folder_, path, info.st_ino);
  views_[info.st_ino] = view;
  return view;
}

Status SharedBuffers::Remove(const std::string& name) {
  SHEAF_RETURN_NOT_OK(CheckName(name));
  const std::string path = Join(folder_, name);
  SHEAF_ASSIGN_OR_RETURN(const Descriptor gate, EnterGate(folder_));
  if (::unlink(path.c_str()) != 0) return PosixError(errno, "remove shared buffer", path);
  return Status::OK();
}

Result<std::vector<SharedBufferInfo>> SharedBuffers::List() {
  SHEAF_ASSIGN_OR_RETURN(const Descriptor gate, EnterGate(folder_));
  SHEAF_ASSIGN_OR_RETURN(const auto files, PosixFileSystem()->List(folder_));
  std::vector<SharedBufferInfo> buffers;
  for (const FileInfo& file : files) {
    if (!CheckName(file.name).ok()) continue;
    const std::string path = Join(folder_, file.name);
    SHEAF_ASSIGN_OR_RETURN(const Descriptor opened, OpenNamed(path));
    SHEAF_ASSIGN_OR_RETURN(const int64_t holders, Holders(opened.get(), path));
    buffers.push_back({file.name, file.bytes, holders});
  }
  return buffers;
}

Result<int64_t> SharedBuffers::RemoveUnused() {
  SHEAF_ASSIGN_OR_RETURN(const Descriptor gate, EnterGate(folder_));
  SHEAF_ASSIGN_OR_RETURN(const auto files, PosixFileSystem()->List(folder_));
  int64_t removed = 0;
  for (const FileInfo& file : files) {
    if (file.name != kNextName && !CheckName(file.name).ok()) continue;
    SHEAF_ASSIGN_OR_RETURN(const bool gone, RemoveIfUnused(Join(folder_, file.name), 0));
    removed += gone;
  }
  return removed;
}

}  // namespace sheaf::io
