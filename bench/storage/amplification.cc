/// Bytes written and bytes kept when a keyed table grows far past its memtable, beside RocksDB's levelled compaction: same rows,
/// same memtable, engines one after the other in fresh folders. Prints one JSON object.
///
///   amplification FOLDER [PUTS]      default 4,000,000 puts of 16 + 104 bytes, memtable 8 MiB: 60 times the memtable
///
/// "append": every key is new. "overwrite": keys of a space of a quarter as many rows, at random. Values are hexadecimal digits,
/// so that compression can take about half of them, as of much real data. Written: what the process gave to the block layer
/// (/proc/self/io), log included, until background work is done, over the bytes of the puts. Kept: blocks of the engine's
/// files, log not included, over the bytes of the rows that are alive; once when the background work is done by itself, and
/// once after a whole compaction, where the engine has one.

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <string>

#include "core/log.h"
#include "key_value.h"

namespace sheaf::bench {
namespace {

constexpr size_t kValueBytes = 104;
constexpr int64_t kRowBytes = 16 + kValueBytes;

uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

std::string ValueOf(uint64_t i) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string value(kValueBytes, '\0');
  uint64_t word = 0;
  for (size_t at = 0; at < kValueBytes; ++at) {
    if (at % 16 == 0) word = Mix(i * 31 + at);
    value[at] = kDigits[word & 15];
    word >>= 4;
  }
  return value;
}

int64_t WrittenBytes() {
  std::ifstream file("/proc/self/io");
  std::string name;
  int64_t value = 0;
  while (file >> name >> value) {
    if (name == "write_bytes:") return value;
  }
  std::fprintf(stderr, "/proc/self/io has no write_bytes\n");
  std::exit(1);
}

/// Of all files below `folder` but logs.
int64_t KeptBytes(const std::string& folder) {
  int64_t bytes = 0;
  std::set<ino_t> seen;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    struct stat info{};
    if (!entry.is_regular_file() || ::stat(entry.path().c_str(), &info) != 0) continue;
    const std::string path = entry.path();
    if (path.find("/log/") != std::string::npos || path.ends_with(".log") || path.find("LOG") != std::string::npos) continue;
    if (seen.insert(info.st_ino).second) bytes += info.st_blocks * 512;
  }
  return bytes;
}

/// Waits until nothing has been written for 13 seconds: Sheaf lets go of files that older manifests name when it has been idle
/// for ten.
void WaitUntilQuiet() {
  int64_t before = WrittenBytes();
  for (int quiet = 0; quiet < 26;) {
    ::usleep(500'000);
    const int64_t now = WrittenBytes();
    quiet = now - before < (64 << 10) ? quiet + 1 : 0;
    before = now;
  }
}

void RunOnce(const char* workload, KeyValue* engine, const std::string& folder, uint64_t puts, uint64_t keys, bool last) {
  const int64_t written_before = WrittenBytes();
  const auto start = std::chrono::steady_clock::now();
  std::mt19937_64 random(3);
  std::vector<bool> seen(keys);
  uint64_t alive = 0;
  for (uint64_t i = 0; i < puts; ++i) {
    const uint64_t key = keys == puts ? i : random() % keys;
    engine->Put(KeyOf(key), ValueOf(i), false);
    alive += seen[key] ? 0 : 1;
    seen[key] = true;
  }
  const double put_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  engine->Flush();
  WaitUntilQuiet();
  const double quiet_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto user = static_cast<double>(static_cast<int64_t>(puts) * kRowBytes);
  const auto live = static_cast<double>(static_cast<int64_t>(alive) * kRowBytes);
  const double written = static_cast<double>(WrittenBytes() - written_before) / user;
  const double kept = static_cast<double>(KeptBytes(folder)) / live;
  engine->Settle();
  WaitUntilQuiet();
  std::printf(
      "\"%s_%s\": {\"write_amplification\": %.2f, \"space\": %.2f, \"space_settled\": %.2f, \"puts_per_s\": %.0f, "
      "\"until_quiet_s\": %.1f}%s",
      workload, engine->name(), written, kept, static_cast<double>(KeptBytes(folder)) / live, static_cast<double>(puts) / put_s,
      quiet_s, last ? "" : ", ");
  std::fprintf(stderr, "%s %s: written %.2f, kept %.2f\n", workload, engine->name(), written, kept);
}

int Main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: amplification FOLDER [PUTS]\n");
    return 2;
  }
  ConfigureLog(LogLevel::kError, false);
  const uint64_t puts = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 4'000'000;
  const EngineLimits limits{.memtable_bytes = size_t{8} << 20};
  std::printf("{");
  for (const bool overwrite : {false, true}) {
    for (const bool ours : {true, false}) {
      const std::string folder = std::string(argv[1]) + (ours ? "/sheaf" : "/rocksdb");
      {
        const auto engine = ours ? OpenSheaf(folder, limits) : OpenRocksDb(folder, limits);
        RunOnce(overwrite ? "overwrite" : "append", engine.get(), folder, puts, overwrite ? puts / 4 : puts, overwrite && !ours);
      }
      std::filesystem::remove_all(folder);
    }
  }
  std::printf("}\n");
  return 0;
}

}  // namespace
}  // namespace sheaf::bench

int main(int argc, char** argv) { return sheaf::bench::Main(argc, argv); }
