#include "parts/delete_vector.h"

#include <bit>
#include <utility>

#include <fmt/format.h>
#include <roaring/roaring.h>
#include <xxhash.h>

#include "core/hex.h"
#include "core/test_hooks.h"
#include "parts/byte_codec.h"

namespace sheaf::parts {
namespace {

constexpr std::string_view kMagic = "SHEAFDEL";
constexpr uint32_t kVersion = 1;
constexpr size_t kUuidBytes = 16, kDigestBytes = 16;
constexpr size_t kHeadBytes = 88;
constexpr int64_t kFileBytesMax = int64_t{1} << 30;  // 2^32 rows as bits are half of it.

struct FreeBitmap {
  void operator()(roaring_bitmap_t* bitmap) const { roaring_bitmap_free(bitmap); }
};
using Bitmap = std::unique_ptr<roaring_bitmap_t, FreeBitmap>;

std::string DigestOfFile(std::string_view bytes) {
  XXH128_canonical_t out;
  XXH128_canonicalFromHash(&out, XXH3_128bits(bytes.data(), bytes.size()));
  return std::string(reinterpret_cast<const char*>(out.digest), sizeof out.digest);
}

Result<std::string> EncodeBitmap(const std::vector<uint32_t>& rows) {
  const Bitmap bitmap(roaring_bitmap_create());
  if (!bitmap) return MakeError(ErrorKind::kOutOfMemory, "a bitmap of {} rows", rows.size());
  roaring_bitmap_add_many(bitmap.get(), rows.size(), rows.data());
  roaring_bitmap_run_optimize(bitmap.get());
  std::string out(roaring_bitmap_portable_size_in_bytes(bitmap.get()), '\0');
  out.resize(roaring_bitmap_portable_serialize(bitmap.get(), out.data()));
  return out;
}

/// Takes the bitmap's rows one by one and stops at the first that cannot be: bytes with the right digest may still lie.
struct RowReader {
  int64_t part_rows, count;
  std::vector<uint32_t> rows;
  bool sane = true;

  static bool Take(uint32_t row, void* self) {
    auto* reader = static_cast<RowReader*>(self);
    reader->sane = int64_t{row} < reader->part_rows && (reader->rows.empty() || reader->rows.back() < row) &&
                   static_cast<int64_t>(reader->rows.size()) < reader->count;
    if (reader->sane) reader->rows.push_back(row);
    return reader->sane;
  }
};

bool DecodeBitmap(std::string_view bytes, int64_t part_rows, int64_t count, std::vector<uint32_t>* rows) {
  if (roaring_bitmap_portable_deserialize_size(bytes.data(), bytes.size()) != bytes.size()) return false;
  const Bitmap bitmap(roaring_bitmap_portable_deserialize_safe(bytes.data(), bytes.size()));
  if (!bitmap) return false;
  RowReader reader{part_rows, count, {}};
  roaring_iterate(bitmap.get(), &RowReader::Take, &reader);
  if (!reader.sane || static_cast<int64_t>(reader.rows.size()) != count) return false;
  *rows = std::move(reader.rows);
  return true;
}

Result<std::vector<uint32_t>> RowsOf(const columns::DeadRows& dead, const columns::GranuleSource& part) {
  std::vector<uint32_t> rows;
  rows.reserve(static_cast<size_t>(dead.count()));
  int64_t first = 0;
  for (int g = 0; g < part.num_granules(); first += part.granule_rows(g++)) {
    const columns::DeadRows::Bits* bits = dead.granule(g);
    if (bits == nullptr) continue;
    for (size_t w = 0; w < bits->size(); ++w) {
      for (uint64_t word = (*bits)[w]; word != 0; word &= word - 1) {
        const int64_t row = static_cast<int64_t>(w) * 64 + std::countr_zero(word);
        if (row < part.granule_rows(g)) rows.push_back(static_cast<uint32_t>(first + row));
      }
    }
  }
  if (static_cast<int64_t>(rows.size()) == dead.count()) return rows;
  return MakeError(ErrorKind::kInvalid, "{}: {} of {} dead rows lie in it", part.name(), rows.size(), dead.count());
}

std::shared_ptr<const columns::DeadRows> ToDeadRows(const std::vector<uint32_t>& rows, const columns::GranuleSource& part) {
  std::vector<std::shared_ptr<const columns::DeadRows::Bits>> granules(static_cast<size_t>(part.num_granules()));
  size_t at = 0;
  int64_t first = 0;
  for (int g = 0; g < part.num_granules() && at < rows.size(); first += part.granule_rows(g++)) {
    const int64_t end = first + part.granule_rows(g);
    if (rows[at] >= end) continue;
    auto bits = std::make_shared<columns::DeadRows::Bits>(static_cast<size_t>((part.granule_rows(g) + 63) / 64));
    for (; at < rows.size() && rows[at] < end; ++at) {
      const int64_t row = rows[at] - first;
      (*bits)[static_cast<size_t>(row / 64)] |= uint64_t{1} << (row % 64);
    }
    granules[static_cast<size_t>(g)] = std::move(bits);
  }
  return std::make_shared<const columns::DeadRows>(std::move(granules));
}

Result<DeadFile> ReadChecked(io::FileSystem* files, const std::string& directory, const PartInfo& info) {
  const std::string path = io::Join(directory, info.dead_file);
  SHEAF_ASSIGN_OR_RETURN(const auto bytes, io::ReadFile(files, path, kFileBytesMax));
  SHEAF_ASSIGN_OR_RETURN(DeadFile file, DecodeDeadFile(std::string_view(*bytes), path));
  const bool same = file.digest == info.dead_digest && file.part == info.id && file.part_uuid == info.file_uuid &&
                    file.part_rows == info.rows && file.through == info.dead_through &&
                    static_cast<int64_t>(file.rows.size()) == info.dead_rows &&
                    (info.database_uuid.empty() || file.database_uuid.empty() || file.database_uuid == info.database_uuid);
  if (same) return file;
  return MakeError(ErrorKind::kCorruption,
                   "{}: is another file than the manifest names: {} dead rows of part {} through LSN {}, digest {}; wanted {} of part {} "
                   "through LSN {}, digest {}",
                   path, file.rows.size(), file.part, file.through, ToHex(file.digest), info.dead_rows, info.id, info.dead_through,
                   ToHex(info.dead_digest));
}

}  // namespace

std::string DeadFileName(PartId id, uint64_t number) { return fmt::format("part-{}-{}.del", id, number); }

Result<std::string> EncodeDeadFile(const DeadFile& contents) {
  SHEAF_ASSIGN_OR_RETURN(const std::string bitmap, EncodeBitmap(contents.rows));
  std::string out;
  out.reserve(kHeadBytes + bitmap.size() + kDigestBytes);
  ByteWriter w(&out);
  w.Raw(kMagic);
  w.Number(kVersion);
  w.Number(uint32_t{0});
  w.Fixed(contents.part_uuid, kUuidBytes);
  w.Fixed(contents.database_uuid, kUuidBytes);
  w.Number(contents.part.value);
  w.Number(contents.through.value);
  w.Number(contents.part_rows);
  w.Number(static_cast<int64_t>(contents.rows.size()));
  w.Number(static_cast<uint64_t>(bitmap.size()));
  w.Raw(bitmap);
  w.Raw(DigestOfFile(out));
  return out;
}

Result<DeadFile> DecodeDeadFile(std::string_view bytes, const std::string& name) {
  const auto damaged = [&](const char* what) {
    return MakeError(ErrorKind::kCorruption, "{}: the delete vector is damaged: {}; restore it from a copy", name, what);
  };
  if (bytes.size() < kHeadBytes + kDigestBytes || bytes.substr(0, kMagic.size()) != kMagic) return damaged("it is none");
  DeadFile out;
  const std::string_view body = bytes.substr(0, bytes.size() - kDigestBytes);
  out.digest = bytes.substr(body.size());
  if (DigestOfFile(body) != out.digest) return damaged("its digest does not match");
  ByteReader in(body.substr(kMagic.size()));
  if (const auto version = in.Number<uint32_t>(); version != kVersion) {
    return MakeError(ErrorKind::kUnsupported, "{}: delete vector version {}; this program reads {}: use the program that wrote it", name,
                     version, kVersion);
  }
  if (in.Number<uint32_t>() != 0) return damaged("its head makes no sense");
  out.part_uuid = in.Raw(kUuidBytes);
  out.database_uuid = in.Raw(kUuidBytes);
  if (out.database_uuid == std::string(kUuidBytes, '\0')) out.database_uuid.clear();
  out.part = PartId(in.Number<uint64_t>());
  out.through = Lsn(in.Number<uint64_t>());
  out.part_rows = in.Number<int64_t>();
  const auto count = in.Number<int64_t>();
  const auto bitmap_bytes = in.Number<uint64_t>();
  if (count < 0 || count > out.part_rows || bitmap_bytes != in.left()) return damaged("its counts make no sense");
  if (!DecodeBitmap(body.substr(kHeadBytes), out.part_rows, count, &out.rows)) return damaged("its bitmap makes no sense");
  return out;
}

Status WriteDeadRows(io::FileSystem* files, const std::string& directory, const columns::GranuleSource& part, uint64_t number,
                     const columns::DeadRows& dead, Lsn through, PartInfo* info) {
  if (dead.count() == 0) return MakeError(ErrorKind::kInvalid, "{}: a delete vector without a dead row", part.name());
  if (part.rows() > int64_t{1} << 32) return MakeError(ErrorKind::kTooLarge, "{}: {} rows in a part", part.name(), part.rows());
  DeadFile contents{info->id, info->file_uuid, info->database_uuid, through, info->rows, {}, {}};
  SHEAF_ASSIGN_OR_RETURN(contents.rows, RowsOf(dead, part));
  SHEAF_ASSIGN_OR_RETURN(const std::string bytes, EncodeDeadFile(contents));
  const std::string name = DeadFileName(info->id, number), path = io::Join(directory, name);
  const Status written = io::WriteFileAtomically(files, path, std::as_bytes(std::span(bytes.data(), bytes.size())));
  if (!written.ok()) {
    for (const std::string& left : {path, path + ".tmp"}) (void)files->Remove(left);  // The error that led here is the one to report.
    return written;
  }
  Failpoint("parts.dead_rows_written");
  info->dead_file = name;
  info->dead_digest = bytes.substr(bytes.size() - kDigestBytes);
  info->dead_rows = dead.count();
  info->dead_through = through;
  return Status::OK();
}

Result<std::shared_ptr<const columns::DeadRows>> ReadDeadRows(io::FileSystem* files, const std::string& directory, const PartInfo& info,
                                                              const columns::GranuleSource& part) {
  if (info.dead_file.empty() || Mutant("delete_vector_lost")) return std::make_shared<const columns::DeadRows>();
  SHEAF_ASSIGN_OR_RETURN(const DeadFile file, ReadChecked(files, directory, info));
  return ToDeadRows(file.rows, part);
}

Status VerifyDeadRows(io::FileSystem* files, const std::string& directory, const PartInfo& info) {
  return info.dead_file.empty() ? Status::OK() : ReadChecked(files, directory, info).status();
}

}  // namespace sheaf::parts
