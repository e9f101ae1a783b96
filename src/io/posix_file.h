/// One open file of the real file system; made by PosixFileSystem().

#pragma once

#include <memory>
#include <string>

#include "io/file_system.h"

namespace sheaf::io {

/// Opens `path` and owns the descriptor.
Result<std::unique_ptr<File>> OpenPosixFile(const std::string& path, OpenMode mode);

}  // namespace sheaf::io
