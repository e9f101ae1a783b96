#include "wal/segments.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "core/log.h"

namespace sheaf::wal {
namespace {

constexpr std::string_view kPrefix = "wal-", kSuffix = ".log", kSparePrefix = "spare-";
constexpr size_t kDigits = 16;
/// Marks are at least this far apart: a tailing reader skips at most so much.
constexpr int64_t kMarkDistance = int64_t{256} << 10;

}  // namespace

std::string SegmentName(Lsn first) { return fmt::format("{}{:016x}{}", kPrefix, first.value, kSuffix); }

std::optional<Lsn> ParseSegmentName(std::string_view name) {
  if (name.size() != kPrefix.size() + kDigits + kSuffix.size() || !name.starts_with(kPrefix) || !name.ends_with(kSuffix)) {
    return std::nullopt;
  }
  uint64_t lsn = 0;
  const char* digits = name.data() + kPrefix.size();
  const auto [end, error] = std::from_chars(digits, digits + kDigits, lsn, 16);
  if (error != std::errc() || end != digits + kDigits || lsn == 0 || SegmentName(Lsn(lsn)) != name) return std::nullopt;
  return Lsn(lsn);
}

bool IsLeftover(std::string_view name) { return name.starts_with(kSparePrefix); }

Result<std::vector<SegmentFile>> ListSegments(io::FileSystem* files, const std::string& directory) {
  const Result<std::vector<io::FileInfo>> listed = files->List(directory);
  if (!listed.ok() && KindOf(listed.status()) == ErrorKind::kNotFound) return std::vector<SegmentFile>();
  SHEAF_RETURN_NOT_OK(listed.status());
  std::vector<SegmentFile> segments;
  for (const io::FileInfo& info : *listed) {
    const std::optional<Lsn> first = ParseSegmentName(info.name);
    if (first && !info.is_directory) segments.push_back({*first, io::Join(directory, info.name), info.bytes});
  }
  std::sort(segments.begin(), segments.end(), [](const SegmentFile& a, const SegmentFile& b) { return a.first < b.first; });
  return segments;
}

void Segment::AddMark(const Mark& mark) {
  if (mark.offset - marks.back().offset >= kMarkDistance) marks.push_back(mark);
}

const Mark& Segment::MarkBefore(Lsn lsn) const {
  const auto after = std::upper_bound(marks.begin(), marks.end(), lsn, [](Lsn l, const Mark& mark) { return l < mark.next; });
  return after == marks.begin() ? marks.front() : *(after - 1);
}

namespace {

Status Preallocate(io::File* file, int64_t bytes) {
  SHEAF_RETURN_NOT_OK(file->Allocate(bytes));
  return file->Sync();
}

}  // namespace

Result<SpareSegment> MakeSpare(io::FileSystem* files, const std::string& directory, std::string_view name, int64_t bytes) {
  SpareSegment spare{nullptr, io::Join(directory, fmt::format("{}{}", kSparePrefix, name)), bytes};
  const Status old = files->Remove(spare.path);  // Of an attempt that failed.
  if (!old.ok() && KindOf(old) != ErrorKind::kNotFound) return old;
  SHEAF_ASSIGN_OR_RETURN(spare.file, files->Open(spare.path, io::OpenMode::kCreate));
  const Status made = Preallocate(spare.file.get(), bytes);
  if (made.ok()) return spare;
  spare.file.reset();
  const Status removed = files->Remove(spare.path);
  if (!removed.ok()) LogWarn("wal.spare_left", {{"path", spare.path}, {"reason", removed.message()}});
  return made;
}

}  // namespace sheaf::wal
