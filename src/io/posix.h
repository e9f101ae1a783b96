/// The real file system. What each call promises is written in file_system.h; here only what is
/// particular to Linux: sync is fdatasync or fsync, preallocation is fallocate, locks are open file
/// description locks (two opens of one process exclude each other as well, and a lock dies with its
/// process), descriptors are not inherited by programs that this one starts.

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "io/file_system.h"

namespace sheaf::io {

/// Lives for ever.
FileSystem* PosixFileSystem();

/// Bytes of a File::Map() that will be read soon: the system starts to fetch them unless their first page is in memory. Advice only;
/// returns at once. `bytes` may begin and end within a page.
void ReadAhead(std::span<const uint8_t> bytes);

/// Lets the calling thread, and threads that it starts from now on, run on these processors only. Invalid: one of them is not there
/// or not allowed.
Status PinThread(const std::vector<int>& cpus);

/// Lets this process have as many descriptors open as the system allows it; returns how many those are.
int64_t RaiseDescriptorLimit();

}  // namespace sheaf::io
