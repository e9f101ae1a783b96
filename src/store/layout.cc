#include "store/layout.h"

#include <random>

namespace sheaf::store {

Result<std::vector<io::FileInfo>> ListIfThere(io::FileSystem* files, const std::string& path) {
  auto list = files->List(path);
  if (!list.ok() && KindOf(list.status()) == ErrorKind::kNotFound) return std::vector<io::FileInfo>();
  return list;
}

std::string NewDatabaseUuid() {
  std::random_device random;
  std::string uuid;
  for (int i = 0; i < 4; ++i) {
    const uint32_t word = random();
    uuid.append(reinterpret_cast<const char*>(&word), sizeof(word));
  }
  return uuid;
}

}  // namespace sheaf::store
