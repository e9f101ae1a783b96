/// The real file system. What each call promises is written in file_system.h; here only what is
/// particular to Linux: sync is fdatasync or fsync, preallocation is fallocate, locks are open file
/// description locks (two opens of one process exclude each other as well, and a lock dies with its
/// process), descriptors are not inherited by programs that this one starts.

#pragma once

#include "io/file_system.h"

namespace sheaf::io {

/// Lives for ever.
FileSystem* PosixFileSystem();

}  // namespace sheaf::io
