#include "io/posix_error.h"

#include <sys/statvfs.h>

#include <cerrno>
#include <system_error>

namespace sheaf::io {
namespace {

std::string Folder(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Status DiskFull(int error, const char* call, const std::string& path) {
  struct statvfs space {};
  std::string free = "unknown";
  if (::statvfs(path.c_str(), &space) == 0 || ::statvfs(Folder(path).c_str(), &space) == 0) {
    free = fmt::format("{}", static_cast<int64_t>(space.f_bavail) * static_cast<int64_t>(space.f_frsize));
  }
  return MakeError(ErrorKind::kUnavailable, "{} {}: {}; free bytes there: {}. Free space or raise the quota; writing resumes by itself",
                   call, path, error == EDQUOT ? "disk quota exceeded" : "no space left on the disk", free);
}

}  // namespace

Status PosixError(int error, const char* call, const std::string& path) {
  switch (error) {
    case ENOSPC:
    case EDQUOT: return DiskFull(error, call, path);
    case ENOENT: return MakeError(ErrorKind::kNotFound, "{} {}: no such file or folder", call, path);
    case EEXIST: return MakeError(ErrorKind::kAlreadyExists, "{} {}: exists already", call, path);
    case EMFILE:
    case ENFILE:
      return MakeError(ErrorKind::kUnavailable, "{} {}: too many open files; raise the limit (ulimit -n)", call, path);
    default: return MakeError(ErrorKind::kIo, "{} {}: {}", call, path, std::generic_category().message(error));
  }
}

}  // namespace sheaf::io
