#include "io/system_calls_testing.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <utility>

#include "core/mutex.h"

namespace sheaf::io {
namespace {

Mutex hook_mutex;
CallHook hook SHEAF_GUARDED_BY(hook_mutex);
uint64_t calls SHEAF_GUARDED_BY(hook_mutex) = 0;
std::atomic<bool> hooked = false;  // The way of the calls that nobody wants to fail takes no lock.

constexpr bool kInterruptible = true, kShortable = true;

/// Asks the hook; sets errno where the call is to fail.
CallFault Ask(const char* name, const char* path, bool interruptible = false, bool shortable = false) {
  if (!hooked.load(std::memory_order_acquire)) return CallFault::kNone;
  const MutexLock lock(&hook_mutex);
  if (!hook) return CallFault::kNone;
  SystemCall call{name, path == nullptr ? "" : path, ++calls, interruptible, shortable};
  const CallFault fault = hook(&call);
  if (fault == CallFault::kInterrupted && interruptible) errno = EINTR;
  else if (fault == CallFault::kFails) errno = call.fault_errno;
  else if (fault != CallFault::kShort || !shortable) return CallFault::kNone;
  return fault;
}

bool Fails(const char* name, const char* path = nullptr, bool interruptible = false) {
  return Ask(name, path, interruptible) != CallFault::kNone;
}

}  // namespace

void SetCallHook(CallHook wanted) {
  const MutexLock lock(&hook_mutex);
  hooked.store(wanted != nullptr, std::memory_order_release);
  hook = std::move(wanted);
  calls = 0;
}

}  // namespace sheaf::io

using sheaf::io::Ask;
using sheaf::io::CallFault;
using sheaf::io::Fails;
using sheaf::io::kInterruptible;
using sheaf::io::kShortable;

extern "C" {

ssize_t __real_pread(int descriptor, void* out, size_t bytes, off_t offset);
ssize_t __wrap_pread(int descriptor, void* out, size_t bytes, off_t offset) {
  const CallFault fault = Ask("pread", nullptr, kInterruptible, kShortable);
  if (fault == CallFault::kShort) bytes = (bytes + 1) / 2;
  else if (fault != CallFault::kNone) return -1;
  return __real_pread(descriptor, out, bytes, offset);
}

ssize_t __real_pwrite(int descriptor, const void* from, size_t bytes, off_t offset);
ssize_t __wrap_pwrite(int descriptor, const void* from, size_t bytes, off_t offset) {
  const CallFault fault = Ask("pwrite", nullptr, kInterruptible, kShortable);
  if (fault == CallFault::kShort) bytes = (bytes + 1) / 2;
  else if (fault != CallFault::kNone) return -1;
  return __real_pwrite(descriptor, from, bytes, offset);
}

ssize_t __real_pwritev(int descriptor, const struct iovec* pieces, int count, off_t offset);
ssize_t __wrap_pwritev(int descriptor, const struct iovec* pieces, int count, off_t offset) {
  const CallFault fault = Ask("pwritev", nullptr, kInterruptible, kShortable);
  if (fault == CallFault::kNone) return __real_pwritev(descriptor, pieces, count, offset);
  if (fault != CallFault::kShort) return -1;
  // Ends within the piece in the middle: whole pieces before it, and half of it.
  const struct iovec& middle = pieces[count / 2];
  if (count > 1 && __real_pwritev(descriptor, pieces, count / 2, offset) < 0) return -1;
  off_t done = 0;
  for (int i = 0; i < count / 2; ++i) done += static_cast<off_t>(pieces[i].iov_len);
  const ssize_t half = __real_pwrite(descriptor, middle.iov_base, (middle.iov_len + 1) / 2, offset + done);
  return half < 0 ? half : done + half;
}

int __real_fdatasync(int descriptor);
int __wrap_fdatasync(int descriptor) { return Fails("fdatasync", nullptr, kInterruptible) ? -1 : __real_fdatasync(descriptor); }

int __real_fsync(int descriptor);
int __wrap_fsync(int descriptor) { return Fails("fsync", nullptr, kInterruptible) ? -1 : __real_fsync(descriptor); }

int __real_fallocate(int descriptor, int mode, off_t offset, off_t length);
int __wrap_fallocate(int descriptor, int mode, off_t offset, off_t length) {
  return Fails("fallocate", nullptr, kInterruptible) ? -1 : __real_fallocate(descriptor, mode, offset, length);
}

int __real_ftruncate(int descriptor, off_t length);
int __wrap_ftruncate(int descriptor, off_t length) {
  return Fails("ftruncate", nullptr, kInterruptible) ? -1 : __real_ftruncate(descriptor, length);
}

int __real_open(const char* path, int flags, ...);
int __wrap_open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return Fails("open", path, kInterruptible) ? -1 : __real_open(path, flags, mode);
}

int __real_close(int descriptor);
int __wrap_close(int descriptor) {
  const bool fails = Fails("close", nullptr, kInterruptible);
  const int error = errno;
  const int result = __real_close(descriptor);  // Linux has let go of it whatever it answers.
  if (!fails) return result;
  errno = error;
  return -1;
}

int __real_rename(const char* from, const char* to);
int __wrap_rename(const char* from, const char* to) { return Fails("rename", from) ? -1 : __real_rename(from, to); }

int __real_link(const char* from, const char* to);
int __wrap_link(const char* from, const char* to) { return Fails("link", from) ? -1 : __real_link(from, to); }

int __real_unlink(const char* path);
int __wrap_unlink(const char* path) { return Fails("unlink", path) ? -1 : __real_unlink(path); }

int __real_mkdir(const char* path, mode_t mode);
int __wrap_mkdir(const char* path, mode_t mode) { return Fails("mkdir", path) ? -1 : __real_mkdir(path, mode); }

int __real_stat(const char* path, struct stat* info);
int __wrap_stat(const char* path, struct stat* info) { return Fails("stat", path) ? -1 : __real_stat(path, info); }

int __real_fstat(int descriptor, struct stat* info);
int __wrap_fstat(int descriptor, struct stat* info) { return Fails("fstat") ? -1 : __real_fstat(descriptor, info); }

int __real_fstatat(int folder, const char* path, struct stat* info, int flags);
int __wrap_fstatat(int folder, const char* path, struct stat* info, int flags) {
  return Fails("fstatat", path) ? -1 : __real_fstatat(folder, path, info, flags);
}

void* __real_mmap(void* address, size_t length, int protection, int flags, int descriptor, off_t offset);
void* __wrap_mmap(void* address, size_t length, int protection, int flags, int descriptor, off_t offset) {
  return Fails("mmap") ? MAP_FAILED : __real_mmap(address, length, protection, flags, descriptor, offset);
}

DIR* __real_fdopendir(int descriptor);
DIR* __wrap_fdopendir(int descriptor) { return Fails("fdopendir") ? nullptr : __real_fdopendir(descriptor); }

struct dirent* __real_readdir(DIR* folder);
struct dirent* __wrap_readdir(DIR* folder) { return Fails("readdir") ? nullptr : __real_readdir(folder); }

}  // extern "C"
