#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string_view>
#include <thread>

#include <link.h>
#include <sys/resource.h>
#include <unistd.h>
#include <CLI/App.hpp>
#include <nlohmann/json.hpp>

#include "build_versions.h"
#include "command.h"
#include "io/clock.h"
#include "io/posix.h"

namespace sheaf::cli {
namespace {

constexpr int kSyncs = 50;
constexpr int64_t kSyncBytes = 4'096;
constexpr int64_t kFreeBytesWish = int64_t{10} << 30;
constexpr uint64_t kOpenFilesWish = 8'192;

struct Finding {
  std::string name, value;
  std::string advice;  // Not empty: something to look at.
};

int AddLibrary(dl_phdr_info* info, size_t, void* findings) {
  const std::string_view path = info->dlpi_name;
  const std::string_view file = path.substr(path.rfind('/') + 1);
  for (const std::string_view wanted : {"libarrow", "libparquet", "libduckdb", "libnghttp2", "libssl"}) {
    if (file.starts_with(wanted)) {
      static_cast<std::vector<Finding>*>(findings)->push_back(
          {"library " + std::string(file.substr(0, file.find('.'))), std::string(path), ""});
    }
  }
  return 0;
}

/// Times fdatasync after small writes, as the log does them, in a file of the directory.
Status MeasureSync(const std::string& directory, std::vector<Finding>* findings) {
  io::FileSystem* files = io::PosixFileSystem();
  io::Clock* clock = io::SystemClock();
  const std::string path = io::Join(directory, fmt::format(".sheaf-doctor-{}", getpid()));
  SHEAF_ASSIGN_OR_RETURN(const auto file, files->Open(path, io::OpenMode::kCreate));
  std::vector<int64_t> times;
  const Status status = [&]() -> Status {
    SHEAF_RETURN_NOT_OK(file->Allocate(kSyncs * kSyncBytes));
    SHEAF_RETURN_NOT_OK(file->Sync());
    const std::vector<std::byte> bytes(kSyncBytes, std::byte{1});
    for (int i = 0; i < kSyncs; ++i) {
      const int64_t begin = clock->MonotonicNs();
      SHEAF_RETURN_NOT_OK(file->WriteAt(i * kSyncBytes, bytes));
      SHEAF_RETURN_NOT_OK(file->SyncData());
      times.push_back(clock->MonotonicNs() - begin);
    }
    return file->Close();
  }();
  SHEAF_RETURN_NOT_OK(files->Remove(path));
  SHEAF_RETURN_NOT_OK(status);
  std::sort(times.begin(), times.end());
  const double p50_ms = static_cast<double>(times[kSyncs / 2]) / 1e6;
  const double p99_ms = static_cast<double>(times[kSyncs * 99 / 100]) / 1e6;
  findings->push_back({"sync latency", fmt::format("P50 {:.3f} ms, P99 {:.3f} ms", p50_ms, p99_ms),
                       p50_ms > 20 ? "every answer waits for one sync; a faster disk makes ingest answer faster" : ""});
  return Status::OK();
}

Status Examine(const std::string& directory, std::vector<Finding>* findings) {
  for (const auto& [name, version] : BuildVersions()) findings->push_back({name, version, ""});
  dl_iterate_phdr(&AddLibrary, findings);
  findings->push_back({"processors", std::to_string(std::thread::hardware_concurrency()), ""});
  const int64_t memory = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  findings->push_back(
      {"memory", fmt::format("{} MiB", memory >> 20), memory < (int64_t{2} << 30) ? "less than 2 GiB is tight" : ""});
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  findings->push_back({"open files", fmt::format("{} (at most {})", limit.rlim_cur, limit.rlim_max),
                       limit.rlim_cur < kOpenFilesWish ? "raise it (ulimit -n) for many connections or parts" : ""});
  SHEAF_ASSIGN_OR_RETURN(const int64_t free_bytes, io::PosixFileSystem()->FreeBytes(directory));
  findings->push_back({"free space", fmt::format("{} MiB at {}", free_bytes >> 20, directory),
                       free_bytes < kFreeBytesWish ? "writing stops when the disk is nearly full" : ""});
  return MeasureSync(directory, findings);
}

int RunDoctor(const std::string& directory, bool json) {
  std::vector<Finding> findings;
  const Status status = Examine(directory, &findings);
  nlohmann::ordered_json array = nlohmann::ordered_json::array();
  for (const Finding& finding : findings) {
    array.push_back({{"name", finding.name}, {"value", finding.value}, {"advice", finding.advice}});
    if (!json) {
      std::printf("%-20s %s%s%s\n", finding.name.c_str(), finding.value.c_str(), finding.advice.empty() ? "" : "  <- ",
                  finding.advice.c_str());
    }
  }
  if (json) std::printf("%s\n", array.dump(2).c_str());
  return status.ok() ? kDone : Fail(status);
}

}  // namespace

void AddDoctor(CLI::App* app, Action* chosen) {
  struct Options {
    std::string data = ".";
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app->add_subcommand("doctor", "Looks at versions, libraries, disk and limits of this machine");
  command->add_option("--data", options->data, "Directory whose disk is looked at (default: this one)")->type_name("DIR");
  command->add_flag("--json", options->json, "Prints the findings as JSON");
  command->callback([chosen, options] { *chosen = [options] { return RunDoctor(options->data, options->json); }; });
}

}  // namespace sheaf::cli
