/// One open file of the real file system; made by PosixFileSystem().

#pragma once

#include <memory>
#include <string>

#include "io/file_system.h"

namespace sheaf::io {

/// Opens `path` and owns the descriptor.
Result<std::unique_ptr<File>> OpenPosixFile(const std::string& path, OpenMode mode);

/// The same of a descriptor that is open already; owns it. `path` is for messages.
std::unique_ptr<File> MakePosixFile(int descriptor, std::string path);

}  // namespace sheaf::io
