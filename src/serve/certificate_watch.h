/// Notices that somebody has put another certificate in place, so that a server need not be started again when one is renewed.

#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/status.h"
#include "io/clock.h"
#include "io/file_system.h"

namespace sheaf::serve {

/// For one thread. Borrows file system and clock.
class CertificateWatch {
 public:
  /// Watches the contents of `paths`, as they are now; empty ones are left out. `reload` is called when they have changed.
  CertificateWatch(io::FileSystem* files, io::Clock* clock, std::vector<std::string> paths, std::function<Status()> reload);

  /// To be called now and then; looks every few seconds. A certificate is often in place before its key: what cannot be loaded is
  /// reported in the log, once, and the old one stays until the files change again.
  void Look();

 private:
  /// A digest of all files. Error: one cannot be read.
  Result<std::string> Digest() const;

  io::FileSystem* const files_;
  io::Clock* const clock_;
  std::vector<std::string> paths_;
  const std::function<Status()> reload_;
  std::string seen_;  // The digest that was loaded, or could not be.
  int64_t looked_ns_ = 0;
};

}  // namespace sheaf::serve
