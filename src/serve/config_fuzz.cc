/// Settings files, variables and flags of whatever text: taken or refused as Invalid, never a crash; what is taken and
/// printed as a file gives the same settings again.
///
/// The first byte: bits 0 and 1 say whether the rest is a file, the value of a variable, or that of a flag.

#include <array>
#include <cstdint>
#include <string>

#include "core/check.h"
#include "decode/utf8.h"
#include "io/sim_testing.h"
#include "serve/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sheaf::serve;
  constexpr std::array kKeys = {"server.port_http", "server.cpus", "storage.cold_after_ms", "storage.memtable_bytes",
                                "storage.free_space_min_fraction", "storage.archive_log", "query.temp_directory", "log.level"};
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data + 1), size - 1);
  const char* const key = kKeys[data[0] / 4 % kKeys.size()];
  sheaf::io::SimFileSystem disk;
  ConfigSources sources;
  switch (data[0] % 4) {
    case 0: sources.environment.push_back(text); break;  // "NAME=value"
    case 1: sources.flags.emplace_back(key, text); break;
    default:
      disk.SetContents("/sheaf.toml", text);
      sources.file = "/sheaf.toml";
  }
  const auto config = LoadConfig(&disk, sources);
  if (!config.ok()) {
    SHEAF_CHECK(sheaf::KindOf(config.status()) == sheaf::ErrorKind::kInvalid);
    return 0;
  }
  (void)ParseCpus(config->server.cpus);
  const std::string printed = ConfigToToml(*config);
  disk.SetContents("/printed.toml", printed);
  if (!sheaf::decode::IsUtf8(printed)) return 0;  // A path from a flag may be any bytes; a TOML file may not.
  const auto again = LoadConfig(&disk, {.file = "/printed.toml"});
  SHEAF_CHECK(again.ok() && ConfigToToml(*again) == printed);
  return 0;
}
