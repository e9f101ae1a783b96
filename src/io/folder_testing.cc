#include "io/folder_testing.h"

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "core/check.h"

namespace sheaf::io {

TemporaryFolder::TemporaryFolder() {
  const char* parent = std::getenv("TMPDIR");
  path_ = std::string(parent != nullptr ? parent : "/tmp") + "/sheaf-test-XXXXXX";
  SHEAF_CHECK(::mkdtemp(path_.data()) != nullptr);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;  // A test that leaves a folder behind is no failed test.
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace sheaf::io
