#include "serve/certificate_watch.h"

#include <utility>

#include "access/secret.h"
#include "core/log.h"

namespace sheaf::serve {
namespace {

constexpr int64_t kLookIntervalNs = 2'000'000'000;
constexpr int64_t kFileBytesMax = 4 << 20;

}  // namespace

CertificateWatch::CertificateWatch(io::FileSystem* files, io::Clock* clock, std::vector<std::string> paths,
                                   std::function<Status()> reload)
    : files_(files), clock_(clock), paths_(std::move(paths)), reload_(std::move(reload)), looked_ns_(clock->MonotonicNs()) {
  std::erase_if(paths_, [](const std::string& path) { return path.empty(); });
  if (const auto now = Digest(); now.ok()) seen_ = *now;
}

Result<std::string> CertificateWatch::Digest() const {
  std::string digests;
  for (const std::string& path : paths_) {
    SHEAF_ASSIGN_OR_RETURN(const auto bytes, io::ReadFile(files_, path, kFileBytesMax));
    digests += access::Sha256({reinterpret_cast<const char*>(bytes->data()), static_cast<size_t>(bytes->size())});
  }
  return digests;
}

void CertificateWatch::Look() {
  const int64_t now = clock_->MonotonicNs();
  if (paths_.empty() || now - looked_ns_ < kLookIntervalNs) return;
  looked_ns_ = now;
  const Result<std::string> digest = Digest();
  if (digest.ok() && *digest == seen_) return;
  const std::string state = digest.ok() ? *digest : digest.status().message();
  if (state == std::exchange(seen_, state)) return;
  const Status loaded = digest.ok() ? reload_() : digest.status();
  if (loaded.ok()) return LogInfo("tls.certificate_loaded", {{"certificate", paths_.front()}});
  LogError("tls.certificate_not_loaded", {{"error", loaded.message()}, {"action", "the certificate as last loaded stays"}});
}

}  // namespace sheaf::serve
