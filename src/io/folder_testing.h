/// A folder of its own for a test or benchmark that needs the real file system.

#pragma once

#include <string>

namespace sheaf::io {

/// Makes a new folder under $TMPDIR or /tmp, and removes it with all it holds at the end.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace sheaf::io
