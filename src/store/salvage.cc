#include "store/salvage.h"

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "columns/row_union.h"
#include "core/memory.h"
#include "parts/delete_vector.h"
#include "parts/keyed_part.h"
#include "parts/manifest.h"
#include "parts/part_stream.h"
#include "store/batch_id_file.h"
#include "store/damaged_part.h"
#include "store/layout.h"
#include "store/local_database.h"
#include "store/manifest_extra.h"
#include "store/part_columns.h"
#include "store/snapshots.h"
#include "store/table_record.h"
#include "wal/salvage.h"

namespace sheaf::store {
namespace {

using nlohmann::json;

constexpr int64_t kManifestBytesMax = int64_t{1} << 30;

class Salvager {
 public:
  Salvager(io::FileSystem* files, io::Clock* clock, const std::string& from, const std::string& to, const SalvageProgress& progress)
      : files_(files), clock_(clock), from_(from), to_(to), progress_(progress) {}

  Result<SalvageReport> Run() {
    SHEAF_ASSIGN_OR_RETURN(const std::unique_ptr<io::FileLock> lock, files_->Lock(from_.lock));
    SHEAF_RETURN_NOT_OK(FindManifest());
    for (const std::string& path : {to_.root, to_.parts, to_.batch_ids}) SHEAF_RETURN_NOT_OK(files_->MakeDirectories(path));
    SHEAF_RETURN_NOT_OK(SaveParts());
    SHEAF_RETURN_NOT_OK(SaveBatchIds());
    for (const std::string& path : {to_.parts, to_.batch_ids, to_.root}) SHEAF_RETURN_NOT_OK(files_->SyncDirectory(path));
    state_.number = 1;
    state_.durable = state_.covered;  // The new log has nothing yet: opening would miss what the old one had.
    SHEAF_RETURN_NOT_OK(parts::CommitManifest(files_, to_.root, state_));
    SHEAF_RETURN_NOT_OK(SaveLog());
    for (const auto& [part, table] : set_aside_) SHEAF_RETURN_NOT_OK(AddBack(part, *table));
    SHEAF_RETURN_NOT_OK(database_->Flush());
    SHEAF_RETURN_NOT_OK(database_->Close());
    return std::move(report_);
  }

 private:
  void Say(const std::string& line) {
    if (progress_) progress_(line);
  }
  void Lose(std::string line) {
    Say(line);
    report_.losses.push_back(std::move(line));
  }

  /// The newest manifest that can be read, however old.
  Status FindManifest() {
    const auto current = parts::LoadManifest(files_, from_.root);
    if (current.ok() && !current->fell_back) {
      state_ = current->state;
      return Status::OK();
    }
    SHEAF_ASSIGN_OR_RETURN(const auto list, files_->List(from_.root));
    std::vector<std::string> names;
    for (const io::FileInfo& file : list) {
      if (file.name.starts_with("MANIFEST-")) names.push_back(file.name);
    }
    if (names.empty()) {
      return MakeError(ErrorKind::kNotFound, "{} has no manifest: nothing says which tables its files are of", from_.root);
    }
    std::sort(names.rbegin(), names.rend());
    for (const std::string& name : names) {
      const auto bytes = io::ReadFile(files_, io::Join(from_.root, name), kManifestBytesMax);
      auto decoded = bytes.ok() ? parts::DecodeManifest(std::string_view(**bytes)) : Result<parts::ManifestState>(bytes.status());
      if (decoded.ok()) {
        state_ = *std::move(decoded);
        if (name != names.front()) {
          Lose(fmt::format("{} cannot be read; {} is taken, which knows nothing of parts and tables made later", names.front(), name));
        }
        return Status::OK();
      }
      if (!IsDamage(decoded.status())) return decoded.status();
    }
    return MakeError(ErrorKind::kCorruption, "none of the {} manifests in {} can be read", names.size(), from_.root);
  }

  Status SaveParts() {
    std::map<TableId, std::shared_ptr<const TableInfo>> tables;
    for (const parts::TableRecord& record : state_.tables) {
      SHEAF_ASSIGN_OR_RETURN(tables[record.id], TableOf(record));
    }
    SHEAF_ASSIGN_OR_RETURN(const json extra, ReadExtra(state_));
    const json set_aside = extra.value("damaged", json::object());
    std::vector<parts::PartInfo> kept;
    for (const parts::PartInfo& part : state_.parts) {
      const auto table = tables.find(part.table);
      if (table == tables.end()) {
        LosePart(part, "?", "its table is not in the manifest");
        continue;
      }
      if (set_aside.contains(fmt::format("{}", part.id))) {
        set_aside_.emplace_back(part, table->second);
        continue;
      }
      SHEAF_ASSIGN_OR_RETURN(const auto saved, SavePart(part, *table->second));
      if (saved) kept.push_back(*saved);
    }
    state_.parts = std::move(kept);
    return Status::OK();
  }

  void LosePart(const parts::PartInfo& part, const std::string& table, const std::string& why) {
    ++report_.parts_lost;
    report_.rows_lost += part.rows;
    Lose(fmt::format("table {}: part {} with {} rows is lost: {}", table, part.id, part.rows, why));
  }

  Result<std::optional<parts::PartInfo>> SavePart(const parts::PartInfo& part, const TableInfo& table) {
    Say(fmt::format("part {} of {}.{}", part.id, table.schema_name, table.name));
    const Status sound = parts::VerifyPart(files_, from_.parts, part);
    if (sound.ok()) {
      ++report_.parts_whole;
      std::vector<std::string> names = {part.file_name, parts::IndexFileName(part.id)};
      if (!part.dead_file.empty()) names.push_back(part.dead_file);
      for (const std::string& name : names) {
        SHEAF_RETURN_NOT_OK(PlaceFile(files_, io::Join(from_.parts, name), io::Join(to_.parts, name)));
      }
      return part;
    }
    if (!IsDamage(sound)) return sound;
    auto rewritten = Rewrite(part, table, sound);
    if (rewritten.ok() || !IsDamage(rewritten.status())) return rewritten;
    LosePart(part, table.schema_name + "." + table.name, rewritten.status().message());
    return std::nullopt;
  }

  struct KeyedRows {
    std::shared_ptr<const columns::GranuleSource> source;
    std::shared_ptr<const columns::DeadRows> dead;  // Null: it is not known which.
  };

  Result<KeyedRows> OpenKeyed(const parts::PartInfo& part, const TableInfo& table) {
    SHEAF_ASSIGN_OR_RETURN(const auto written, SchemaOf(table, part.schema_version));
    parts::KeyedPart::Options options{.keys = table.keys, .schema = table.schema, .written = written, .fills = table.fills};
    SHEAF_ASSIGN_OR_RETURN(const auto keyed, parts::KeyedPart::Open(files_, from_.parts, part, std::move(options)));
    auto dead = parts::ReadDeadRows(files_, from_.parts, part, *keyed->source());
    if (dead.ok()) return KeyedRows{keyed->source(), *std::move(dead)};
    if (!IsDamage(dead.status())) return dead.status();
    Lose(fmt::format("table {}.{}: which of the {} rows of part {} were deleted or replaced is lost; they may be there again: {}",
                     table.schema_name, table.name, part.rows, part.id, dead.status().message()));
    return KeyedRows{keyed->source(), nullptr};
  }

  /// The granules that can be read, as another part with its id, without its dead rows.
  Result<std::optional<parts::PartInfo>> Rewrite(const parts::PartInfo& part, const TableInfo& table, const Status& damage) {
    const std::string name = table.schema_name + "." + table.name;
    std::shared_ptr<const columns::GranuleSource> source;
    std::shared_ptr<const columns::DeadRows> dead;
    if (table.kind == TableKind::kKeyed) {
      SHEAF_ASSIGN_OR_RETURN(const KeyedRows rows, OpenKeyed(part, table));
      source = rows.source;
      dead = rows.dead;
    } else {
      SHEAF_ASSIGN_OR_RETURN(const auto written, SchemaOf(table, part.schema_version));
      SHEAF_ASSIGN_OR_RETURN(auto file, parts::OpenPart(files_, from_.parts, part, written));
      SHEAF_ASSIGN_OR_RETURN(source, ReadAs(std::move(file), part.schema_version, table));
    }
    const auto schema = table.kind == TableKind::kKeyed ? parts::KeyedSchema(*table.schema) : table.schema;
    parts::PartInfo info;
    info.id = part.id;
    info.table = part.table;
    info.schema_version = table.schema_version;
    info.format = parts::Format::kCold;
    info.level = part.level;
    info.database_uuid = part.database_uuid;
    info.min_lsn = part.min_lsn;
    info.max_lsn = part.max_lsn;
    info.created_ns = clock_->NowNs();
    SHEAF_ASSIGN_OR_RETURN(auto stream, parts::PartStream::Open(files_, to_.parts, std::move(info), table.layout, schema));
    std::vector<int> all(static_cast<size_t>(schema->num_fields()));
    std::iota(all.begin(), all.end(), 0);
    int64_t lost = 0;
    for (int granule = 0; granule < source->num_granules(); ++granule) {
      const auto batch = source->Read(granule, all);
      if (!batch.ok() && !IsDamage(batch.status())) return batch.status();
      if (!batch.ok()) {
        lost += source->granule_rows(granule);
        continue;
      }
      SHEAF_ASSIGN_OR_RETURN(const auto living, Living(*batch, granule, dead.get()));
      if (living != nullptr) SHEAF_RETURN_NOT_OK(stream->Write(living));
    }
    report_.rows_lost += lost;
    Lose(fmt::format("table {}: {} of the {} rows of part {} are lost: {}", name, lost, part.rows, part.id, damage.message()));
    if (stream->rows() == 0) {
      ++report_.parts_lost;
      return std::nullopt;
    }
    ++report_.parts_rewritten;
    SHEAF_ASSIGN_OR_RETURN(parts::PartInfo finished, stream->Finish());
    return finished;
  }

  /// The rows of a granule that are not dead; null where there are none.
  static Result<std::shared_ptr<arrow::RecordBatch>> Living(const std::shared_ptr<arrow::RecordBatch>& batch, int granule,
                                                            const columns::DeadRows* dead) {
    std::vector<uint32_t> rows;
    for (int64_t row = 0; row < batch->num_rows(); ++row) {
      if (dead == nullptr || !dead->IsDead(granule, row)) rows.push_back(static_cast<uint32_t>(row));
    }
    if (rows.empty()) return nullptr;
    return Chosen(batch, rows);
  }
  static Result<std::shared_ptr<arrow::RecordBatch>> Chosen(const std::shared_ptr<arrow::RecordBatch>& batch,
                                                            const std::vector<uint32_t>& rows) {
    if (std::ssize(rows) == batch->num_rows()) return batch;
    SHEAF_ASSIGN_OR_RETURN(const auto one, columns::RowUnion::Make(batch->schema(), {batch}, &NamedPool("seal")));
    SHEAF_ASSIGN_OR_RETURN(const auto gathered, one->Gather(rows, std::ssize(rows)));
    return gathered.front();
  }

  Status SaveBatchIds() {
    const auto read_extra = ReadExtra(state_);
    if (!read_extra.ok()) Lose(fmt::format("batch ids, and what is known of the log: {}", read_extra.status().message()));
    json extra = read_extra.ok() ? *read_extra : json::object();
    json kept = json::array();
    const json named = extra.value("batch_ids", json::array());
    for (const json& name : named) {
      const std::string path = io::Join(from_.batch_ids, name.get<std::string>());
      const Status read = ReadBatchIds(files_, path).status();
      if (read.ok()) {
        SHEAF_RETURN_NOT_OK(PlaceFile(files_, path, io::Join(to_.batch_ids, name.get<std::string>())));
        kept.push_back(name);
      } else if (IsDamage(read)) {
        Lose(fmt::format("batch ids: those in {} are lost; a retry of such a batch adds its rows again: {}", path, read.message()));
      } else {
        return read;
      }
    }
    extra["batch_ids"] = std::move(kept);
    extra.erase("unlogged");
    extra.erase("damaged");
    state_.extra_json = extra.dump();
    return Status::OK();
  }

  Status Open() {
    Options options;
    options.directory = to_.root;
    options.snapshot_interval_ms = 0;
    options.free_space_min_fraction = 0;
    SHEAF_ASSIGN_OR_RETURN(auto opened, LocalDatabase::Open(files_, clock_, options));
    database_.reset(static_cast<LocalDatabase*>(opened.release()));
    return Status::OK();
  }

  /// Everything through `lsn` is said to be in parts, so that the next entry gets the LSN behind it.
  Status GoOnBehind(Lsn lsn) {
    SHEAF_RETURN_NOT_OK(database_->Flush());
    SHEAF_RETURN_NOT_OK(database_->Close());
    database_.reset();
    SHEAF_ASSIGN_OR_RETURN(parts::ManifestLoad manifest, parts::LoadManifest(files_, to_.root));
    manifest.state.covered = manifest.state.durable = lsn;
    for (int i = 0; i < 2; ++i) {  // Both that count.
      ++manifest.state.number;
      SHEAF_RETURN_NOT_OK(parts::CommitManifest(files_, to_.root, manifest.state));
    }
    SHEAF_RETURN_NOT_OK(RemoveTree(files_, to_.log));
    return Open();
  }

  Status SaveLog() {
    SHEAF_RETURN_NOT_OK(Open());
    Say("the log");
    Status failed;
    const auto lost = [&](const wal::LostEntries& gap) {
      if (!failed.ok()) return;
      if (!gap.last) {
        Lose(fmt::format("the log: what may have been entries from LSN {} on, at {} offset {}, is lost: {}", gap.first, gap.path,
                         gap.offset, gap.reason));
        return;
      }
      const auto count = static_cast<int64_t>(gap.last->value - gap.first.value + 1);
      report_.entries_lost += count;
      Lose(fmt::format("the log: {} entries, LSN {} to {}, at {} offset {}, are lost: {}", count, gap.first, *gap.last, gap.path,
                       gap.offset, gap.reason));
      failed = GoOnBehind(*gap.last);
    };
    const auto visit = [&](const wal::LoggedEntry& entry) -> Status {
      SHEAF_RETURN_NOT_OK(failed);
      const Status done = database_->AppendLogged(entry, /*skip_sealed=*/true);
      if (done.ok()) {
        ++report_.entries;
        return Status::OK();
      }
      if (!IsDamage(done)) return done;
      ++report_.entries_lost;
      Lose(fmt::format("the log: entry {} cannot be done again: {}", entry.lsn, done.message()));
      return GoOnBehind(entry.lsn);
    };
    SHEAF_RETURN_NOT_OK(wal::ReadSound(files_, from_.log, state_.covered, visit, lost));
    return failed;
  }

  /// Rows of a part that was set aside: nobody has noted since which of them were replaced or deleted. Those whose keys nothing else
  /// has are added, as new writes.
  Status AddBack(const parts::PartInfo& part, const TableInfo& table) {
    const std::string name = table.schema_name + "." + table.name;
    const auto rows = OpenKeyed(part, table);
    if (!rows.ok() && !IsDamage(rows.status())) return rows.status();
    if (!rows.ok()) {
      LosePart(part, name, rows.status().message());
      return Status::OK();
    }
    std::vector<int> columns(static_cast<size_t>(table.schema->num_fields()));
    std::iota(columns.begin(), columns.end(), 0);
    int64_t lost = 0, added = 0;
    for (int granule = 0; granule < rows->source->num_granules(); ++granule) {
      const auto batch = rows->source->Read(granule, columns);
      if (!batch.ok() && !IsDamage(batch.status())) return batch.status();
      if (!batch.ok()) {
        lost += rows->source->granule_rows(granule);
        continue;
      }
      SHEAF_ASSIGN_OR_RETURN(const auto living, Living(*batch, granule, rows->dead.get()));
      if (living == nullptr) continue;
      SHEAF_ASSIGN_OR_RETURN(const columns::KeyColumn keys, table.keys->Encode(*living));
      SHEAF_ASSIGN_OR_RETURN(const auto there, database_->MultiGet(table.id, keys));
      std::vector<uint32_t> missing;
      for (size_t row = 0; row < there.size(); ++row) {
        if (!there[row]) missing.push_back(static_cast<uint32_t>(row));
      }
      if (missing.empty()) continue;
      SHEAF_ASSIGN_OR_RETURN(const auto chosen, Chosen(living, missing));
      SHEAF_RETURN_NOT_OK(database_->Append({{table.id, chosen}}).status());
      added += chosen->num_rows();
    }
    ++report_.parts_rewritten;
    report_.rows_lost += lost;
    Lose(fmt::format("table {}: part {} had been set aside: {} of its {} rows are lost, {} were added; among them may be some that were "
                     "deleted since", name, part.id, lost, part.rows, added));
    return Status::OK();
  }

  io::FileSystem* const files_;
  io::Clock* const clock_;
  const DirectoryLayout from_, to_;
  const SalvageProgress& progress_;
  parts::ManifestState state_;
  std::vector<std::pair<parts::PartInfo, std::shared_ptr<const TableInfo>>> set_aside_;  // See damaged_part.h.
  SalvageReport report_;
  std::unique_ptr<LocalDatabase> database_;
};

}  // namespace

Result<SalvageReport> Salvage(io::FileSystem* files, io::Clock* clock, const std::string& directory, const std::string& to,
                              const SalvageProgress& progress) {
  const auto there = files->List(to);
  if (there.ok() && !there->empty()) {
    return MakeError(ErrorKind::kAlreadyExists, "{} is not empty; salvage to a new directory", to);
  }
  if (!there.ok() && KindOf(there.status()) != ErrorKind::kNotFound) return there.status();
  return Salvager(files, clock, directory, to, progress).Run();
}

}  // namespace sheaf::store
