#include "build_versions.h"

#include <arrow/config.h>
#include <duckdb.h>
#include <fmt/format.h>
#include <nghttp2/nghttp2.h>
#include <openssl/crypto.h>
#include <zstd.h>
#include <boost/version.hpp>

namespace sheaf::cli {

std::vector<std::pair<std::string, std::string>> BuildVersions() {
  return {{"sheaf", SHEAF_VERSION},
          {"commit", SHEAF_COMMIT},
          {"build", SHEAF_BUILD_TYPE},
          {"compiler", SHEAF_COMPILER},
          {"arrow", arrow::GetBuildInfo().version_string},
          {"duckdb", duckdb_library_version()},
          {"nghttp2", nghttp2_version(0)->version_str},
          {"openssl", OpenSSL_version(OPENSSL_VERSION_STRING)},
          {"zstd", ZSTD_versionString()},
          {"boost", fmt::format("{}.{}.{}", BOOST_VERSION / 100000, BOOST_VERSION / 100 % 1000, BOOST_VERSION % 100)}};
}

}  // namespace sheaf::cli
