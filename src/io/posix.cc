#include "io/posix.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include <fmt/ranges.h>

#include "io/boot_id.h"
#include "io/posix_descriptor.h"
#include "io/posix_error.h"
#include "io/posix_file.h"

namespace sheaf::io {
namespace {

class PosixLock : public FileLock {
 public:
  explicit PosixLock(int descriptor) : descriptor_(descriptor) {}

 private:
  const Descriptor descriptor_;  // The lock goes with it.
};

/// Small text of a file, or nothing where it cannot be read; for messages only.
std::string ReadText(int descriptor) {
  char text[256];
  const ssize_t n = Uninterrupted([&] { return ::pread(descriptor, text, sizeof text, 0); });
  return n > 0 ? std::string(text, static_cast<size_t>(n)) : std::string();
}

int OpenUninterrupted(const std::string& path, int flags) {
  return Uninterrupted([&] { return ::open(path.c_str(), flags | O_CLOEXEC, 0640); });
}

/// False, with errno: not all of `text` was written.
bool WriteText(int descriptor, const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = Uninterrupted([&] { return ::pwrite(descriptor, text.data() + done, text.size() - done, static_cast<off_t>(done)); });
    if (n <= 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

/// Describes who holds a lock from what the holder wrote: "pid 12, boot 5e…".
std::string Holder(int descriptor) {
  std::string text = ReadText(descriptor);
  std::replace(text.begin(), text.end(), '\n', ' ');
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text.empty() ? "another process" : "the process with " + text;
}

bool IsDirectory(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

class Posix : public FileSystem {
 public:
  Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override { return OpenPosixFile(path, mode); }

  Status Rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return PosixError(errno, "rename", from);
    return Status::OK();
  }

  Status Link(const std::string& from, const std::string& to) override {
    if (::link(from.c_str(), to.c_str()) != 0) return PosixError(errno, "link", errno == EEXIST ? to : from);
    return Status::OK();
  }

  Status Remove(const std::string& path) override {
    if (::unlink(path.c_str()) == 0) return Status::OK();
    if (errno == EISDIR && ::rmdir(path.c_str()) == 0) return Status::OK();
    return PosixError(errno, "remove", path);
  }

  Status MakeDirectories(const std::string& path) override {
    for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
      const std::string folder = path.substr(0, end);
      const bool made = ::mkdir(folder.c_str(), 0750) == 0;
      if (const int error = errno; !made && !IsDirectory(folder)) {  // Also fine after EROFS or EACCES above what is ours.
        return PosixError(error == EEXIST ? ENOTDIR : error, "make folder", folder);
      }
      const bool last = end == std::string::npos;
      if (made || last) {  // The last also where it was there: a process that was killed may not have come to syncing it.
        const size_t slash = folder.rfind('/');
        const Status synced = SyncDirectory(slash == std::string::npos ? "." : slash == 0 ? "/" : folder.substr(0, slash));
        if (made) SHEAF_RETURN_NOT_OK(synced);  // Else the folder above may be one that is not ours to read.
      }
      if (last) return Status::OK();
    }
  }

  Status SyncDirectory(const std::string& path) override {
    const Descriptor folder(OpenUninterrupted(path, O_RDONLY | O_DIRECTORY));
    if (folder.get() < 0) return PosixError(errno, "open folder", path);
    if (Uninterrupted([&] { return ::fsync(folder.get()); }) != 0) return PosixError(errno, "fsync folder", path);
    return Status::OK();
  }

  Result<std::vector<FileInfo>> List(const std::string& path) override {
    Descriptor descriptor(OpenUninterrupted(path, O_RDONLY | O_DIRECTORY));
    const std::unique_ptr<DIR, int (*)(DIR*)> folder(descriptor.get() < 0 ? nullptr : ::fdopendir(descriptor.get()), ::closedir);
    if (!folder) return PosixError(errno, "list", path);
    descriptor.Release();  // It goes with the DIR.
    std::vector<FileInfo> files;
    while (true) {
      errno = 0;
      const struct dirent* entry = ::readdir(folder.get());
      if (entry == nullptr && errno != 0) return PosixError(errno, "list", path);
      if (entry == nullptr) break;
      if (std::strcmp(entry->d_name, ".") == 0 || std::strcmp(entry->d_name, "..") == 0) continue;
      struct stat info {};
      if (::fstatat(::dirfd(folder.get()), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) continue;  // Removed meanwhile.
        return PosixError(errno, "stat", Join(path, entry->d_name));
      }
      files.push_back({entry->d_name, info.st_size, S_ISDIR(info.st_mode)});
    }
    std::sort(files.begin(), files.end(), [](const FileInfo& a, const FileInfo& b) { return a.name < b.name; });
    return files;
  }

  Result<FileInfo> Stat(const std::string& path) override {
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) return PosixError(errno, "stat", path);
    return FileInfo{path.substr(path.rfind('/') + 1), info.st_size, S_ISDIR(info.st_mode)};
  }

  Result<std::unique_ptr<FileLock>> Lock(const std::string& path) override {
    Descriptor file(OpenUninterrupted(path, O_RDWR | O_CREAT));
    if (file.get() < 0) return PosixError(errno, "open lock", path);
    struct flock whole {};
    whole.l_type = F_WRLCK;
    whole.l_whence = SEEK_SET;
    if (::fcntl(file.get(), F_OFD_SETLK, &whole) != 0) {
      if (errno != EAGAIN && errno != EACCES) return PosixError(errno, "lock", path);
      return MakeError(ErrorKind::kUnavailable, "lock {}: held by {}; stop it first, or use its server", path, Holder(file.get()));
    }
    const std::string holder = fmt::format("pid {}\nboot {}\n", ::getpid(), BootId());
    if (Uninterrupted([&] { return ::ftruncate(file.get(), 0); }) != 0 || !WriteText(file.get(), holder)) {
      return PosixError(errno, "write lock", path);
    }
    return std::make_unique<PosixLock>(file.Release());
  }

  Result<int64_t> FreeBytes(const std::string& path) override {
    struct statvfs space {};
    if (::statvfs(path.c_str(), &space) != 0) return PosixError(errno, "statvfs", path);
    return static_cast<int64_t>(space.f_bavail) * static_cast<int64_t>(space.f_frsize);
  }

  Result<int64_t> TotalBytes(const std::string& path) override {
    struct statvfs space {};
    if (::statvfs(path.c_str(), &space) != 0) return PosixError(errno, "statvfs", path);
    return static_cast<int64_t>(space.f_blocks) * static_cast<int64_t>(space.f_frsize);
  }
};

}  // namespace

std::string BootId() {
  const Descriptor file(OpenUninterrupted("/proc/sys/kernel/random/boot_id", O_RDONLY));
  std::string id = file.get() >= 0 ? ReadText(file.get()) : "unknown\n";
  if (!id.empty() && id.back() == '\n') id.pop_back();
  return id;
}

FileSystem* PosixFileSystem() {
  static Posix files;
  return &files;
}

Status PinThread(const std::vector<int>& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) {
    if (cpu < 0 || cpu >= CPU_SETSIZE) return MakeError(ErrorKind::kInvalid, "there is no processor {}", cpu);
    CPU_SET(cpu, &set);
  }
  if (cpus.empty() || ::sched_setaffinity(0, sizeof set, &set) != 0) {
    return MakeError(ErrorKind::kInvalid, "none of the processors {} may be used by this process", fmt::join(cpus, ", "));
  }
  cpu_set_t granted;
  ::sched_getaffinity(0, sizeof granted, &granted);
  for (const int cpu : cpus) {
    if (!CPU_ISSET(cpu, &granted)) return MakeError(ErrorKind::kInvalid, "processor {} may not be used by this process", cpu);
  }
  return Status::OK();
}

int64_t RaiseDescriptorLimit() {
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;  // What it is where nobody set it.
  if (limit.rlim_cur < limit.rlim_max) {
    const struct rlimit raised = {limit.rlim_max, limit.rlim_max};
    if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  return static_cast<int64_t>(std::min<rlim_t>(limit.rlim_cur, std::numeric_limits<int32_t>::max()));
}

}  // namespace sheaf::io
