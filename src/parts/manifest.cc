#include "parts/manifest.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <utility>

#include <fmt/format.h>
#include <xxhash.h>

#include "core/check.h"
#include "core/log.h"
#include "core/metrics.h"
#include "core/test_hooks.h"

namespace sheaf::parts {
namespace {

constexpr const char* kCurrent = "CURRENT";
constexpr std::string_view kPrefix = "MANIFEST-";
constexpr size_t kManifestsKept = 3;
constexpr int64_t kManifestBytesMax = int64_t{1} << 30;
constexpr int64_t kCurrentBytesMax = 4096;

std::string_view View(const arrow::Buffer& buffer) {
  return {reinterpret_cast<const char*>(buffer.data()), static_cast<size_t>(buffer.size())};
}

std::string SumOf(std::string_view bytes) { return fmt::format("{:016x}", XXH3_64bits(bytes.data(), bytes.size())); }

/// What CURRENT says: the newest manifest and the one it was made after, with the sums of both files.
struct Current {
  uint64_t number = 0, previous = 0;  // previous 0: none.
  std::string sum, previous_sum;
};

/// One line: "MANIFEST-000002 <sum> MANIFEST-000001 <sum> <sum of the line so far>".
std::string EncodeCurrent(const Current& current) {
  std::string line = ManifestFileName(current.number) + " " + current.sum;
  line += current.previous == 0 ? " - -" : " " + ManifestFileName(current.previous) + " " + current.previous_sum;
  return line + " " + SumOf(line) + "\n";
}

std::optional<uint64_t> NumberOf(std::string_view name) {
  if (!name.starts_with(kPrefix)) return {};
  uint64_t number = 0;
  const char* end = name.data() + name.size();
  const auto parsed = std::from_chars(name.data() + kPrefix.size(), end, number);
  if (parsed.ec != std::errc() || parsed.ptr != end || number == 0 || name != ManifestFileName(number)) return {};
  return number;
}

std::optional<Current> DecodeCurrent(std::string_view bytes) {
  std::vector<std::string_view> words;
  if (!bytes.ends_with('\n')) return {};
  bytes.remove_suffix(1);
  for (std::string_view rest = bytes;;) {
    const size_t space = rest.find(' ');
    words.push_back(rest.substr(0, space));
    if (space == std::string_view::npos) break;
    rest.remove_prefix(space + 1);
  }
  if (words.size() != 5) return {};
  const std::optional<uint64_t> number = NumberOf(words[0]), previous = NumberOf(words[2]);
  Current out{number.value_or(0), previous.value_or(0), std::string(words[1]), std::string(words[3])};
  if (!number || (!previous && words[2] != "-") || EncodeCurrent(out) != std::string(bytes) + "\n") return {};
  return out;
}

Result<std::optional<Current>> ReadCurrent(io::FileSystem* files, const std::string& directory) {
  auto bytes = io::ReadFile(files, io::Join(directory, kCurrent), kCurrentBytesMax);
  if (bytes.ok()) return DecodeCurrent(View(**bytes));
  const ErrorKind kind = KindOf(bytes.status());
  if (kind == ErrorKind::kNotFound || kind == ErrorKind::kTooLarge) return std::optional<Current>();
  return bytes.status();
}

Result<std::set<uint64_t>> ListNumbers(io::FileSystem* files, const std::string& directory) {
  SHEAF_ASSIGN_OR_RETURN(const auto entries, files->List(directory));
  std::set<uint64_t> out;
  for (const io::FileInfo& entry : entries) {
    if (const auto number = NumberOf(entry.name)) out.insert(*number);
  }
  return out;
}

struct LoadedManifest {
  ManifestState state;
  std::string sum;
};

/// Reads one manifest. `sum`: what CURRENT says of the file; empty where it is not known.
Result<LoadedManifest> ReadManifest(io::FileSystem* files, const std::string& directory, uint64_t number, const std::string& sum) {
  const std::string path = io::Join(directory, ManifestFileName(number));
  SHEAF_ASSIGN_OR_RETURN(const auto bytes, io::ReadFile(files, path, kManifestBytesMax));
  LoadedManifest out;
  out.sum = SumOf(View(*bytes));
  auto state = DecodeManifest(View(*bytes));
  if (!state.ok()) return WithContext(state.status(), path);
  if (state->number != number) {
    return MakeError(ErrorKind::kCorruption, "{}: holds manifest {}", path, state->number);
  }
  if (!sum.empty() && sum != out.sum) {
    return MakeError(ErrorKind::kCorruption, "{}: is another file than the one made current", path);
  }
  out.state = std::move(*state);
  return out;
}

/// The manifest that the new one is made after: the current one if it is intact, else the newest intact one
/// that was. Files in between that never became current do not count: their parts may be gone.
Result<std::optional<LoadedManifest>> FindPrevious(io::FileSystem* files, const std::string& directory, uint64_t number,
                                                   const std::vector<std::pair<uint64_t, std::string>>& candidates) {
  for (const auto& [candidate, sum] : candidates) {
    if (candidate >= number) continue;
    auto loaded = ReadManifest(files, directory, candidate, sum);
    if (loaded.ok()) return std::optional<LoadedManifest>(std::move(*loaded));
    const ErrorKind kind = KindOf(loaded.status());
    if (kind != ErrorKind::kCorruption && kind != ErrorKind::kNotFound) return loaded.status();
  }
  return std::optional<LoadedManifest>();
}

/// The two that may be opened, newest first, with their sums where CURRENT tells them.
std::vector<std::pair<uint64_t, std::string>> Candidates(const std::optional<Current>& current, const std::set<uint64_t>& numbers) {
  std::vector<std::pair<uint64_t, std::string>> out;
  if (current) {
    out.emplace_back(current->number, current->sum);
    if (current->previous != 0) out.emplace_back(current->previous, current->previous_sum);
    return out;
  }
  for (auto it = numbers.rbegin(); it != numbers.rend() && out.size() < 2; ++it) out.emplace_back(*it, "");
  return out;
}

}  // namespace

std::string ManifestFileName(uint64_t number) { return fmt::format("{}{:06}", kPrefix, number); }

Status CommitManifest(io::FileSystem* files, const std::string& directory, const ManifestState& state) {
  SHEAF_CHECK(state.number > 0);
  SHEAF_ASSIGN_OR_RETURN(const std::set<uint64_t> numbers, ListNumbers(files, directory));
  SHEAF_ASSIGN_OR_RETURN(const std::optional<Current> before, ReadCurrent(files, directory));
  SHEAF_ASSIGN_OR_RETURN(const auto previous, FindPrevious(files, directory, state.number, Candidates(before, numbers)));

  const std::string bytes = EncodeManifest(state);
  const auto write = [&](const std::string& name, std::string_view content) {
    return io::WriteFileAtomically(files, io::Join(directory, name), std::as_bytes(std::span(content.data(), content.size())));
  };
  SHEAF_RETURN_NOT_OK(write(ManifestFileName(state.number), bytes));
  Failpoint("parts.manifest_written");
  Current current{state.number, previous ? previous->state.number : 0, SumOf(bytes), previous ? previous->sum : ""};
  SHEAF_RETURN_NOT_OK(write(kCurrent, EncodeCurrent(current)));

  Failpoint("parts.current_switched");
  // What is left over costs space, not safety: a failure to remove it is no failure of the commit.
  std::set<uint64_t> kept{state.number};
  const uint64_t older_than = previous ? previous->state.number : state.number;
  if (previous) kept.insert(older_than);
  for (auto it = numbers.rbegin(); it != numbers.rend() && kept.size() < kManifestsKept; ++it) {
    if (*it < older_than) kept.insert(*it);
  }
  for (const uint64_t number : numbers) {
    if (number > state.number || kept.contains(number)) continue;
    const Status removed = files->Remove(io::Join(directory, ManifestFileName(number)));
    if (!removed.ok()) LogWarn("manifest.not_removed", {{"number", number}, {"error", removed.message()}});
  }
  return Status::OK();
}

Result<ManifestLoad> LoadManifest(io::FileSystem* files, const std::string& directory) {
  SHEAF_ASSIGN_OR_RETURN(const std::set<uint64_t> numbers, ListNumbers(files, directory));
  SHEAF_ASSIGN_OR_RETURN(const std::optional<Current> current, ReadCurrent(files, directory));
  if (numbers.empty() && !current) {
    auto exists = files->Stat(io::Join(directory, kCurrent));
    if (exists.ok()) return MakeError(ErrorKind::kCorruption, "{}: CURRENT is damaged and there is no manifest", directory);
    return MakeError(ErrorKind::kNotFound, "{}: there is no manifest", directory);
  }
  const bool current_damaged = !current && files->Stat(io::Join(directory, kCurrent)).ok();
  if (current_damaged) LogWarn("manifest.current_damaged", {{"directory", directory}});

  std::optional<ManifestLoad> out;
  Status first_error;
  for (const auto& [number, sum] : Candidates(current, numbers)) {
    auto loaded = ReadManifest(files, directory, number, sum);
    if (!loaded.ok()) {
      const ErrorKind kind = KindOf(loaded.status());
      if (kind != ErrorKind::kCorruption && kind != ErrorKind::kNotFound) return loaded.status();
      if (first_error.ok()) first_error = loaded.status();
      continue;
    }
    if (!out) {
      out.emplace();
      out->fell_back = !first_error.ok();
      out->state = std::move(loaded->state);
    } else {
      out->truncatable = std::min(loaded->state.covered, out->state.covered);
    }
  }
  if (!out) {
    return MakeError(ErrorKind::kCorruption,
                     "{}: neither of the two newest manifests can be read ({}); restore a copy of the database",
                     directory, first_error.message());
  }
  if (out->fell_back) {
    static Counter& fallbacks = Metrics().AddCounter("sheaf_manifest_fallbacks_total", "Times the newest manifest was damaged at open.");
    fallbacks.Add();
    LogWarn("manifest.fell_back", {{"number", out->state.number}, {"error", first_error.message()}});
  }
  out->current_damaged = current_damaged;
  out->number_max = current ? current->number : 0;
  for (const uint64_t number : numbers) out->number_max = std::max(out->number_max, number);
  return std::move(*out);
}

}  // namespace sheaf::parts
