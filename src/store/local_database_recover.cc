/// LocalDatabase: from a directory to a running database.

#include <algorithm>
#include <charconv>
#include <cstring>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/check.h"
#include "core/log.h"
#include "core/memory.h"
#include "core/test_hooks.h"
#include "store/batch_id_file.h"
#include "store/damaged_part.h"
#include "store/local_database.h"
#include "store/manifest_extra.h"
#include "store/names.h"
#include "store/part_columns.h"
#include "store/ready_tables.h"
#include "store/table_record.h"

namespace sheaf::store {
namespace {

using nlohmann::json;

/// Adds the ready tables that `state` lacks; returns whether there were any.
Result<bool> AddReadyTables(parts::ManifestState* state) {
  bool added = false;
  for (TableInfo& ready : ReadyTables()) {
    const bool known = std::any_of(state->tables.begin(), state->tables.end(), [&](const parts::TableRecord& table) {
      return SameName(table.schema_name, ready.schema_name) && SameName(table.name, ready.name);
    });
    if (known) continue;
    ready.id = std::exchange(state->next_table, state->next_table.Next());
    SHEAF_ASSIGN_OR_RETURN(state->tables.emplace_back(), ToRecord(ready));
    added = true;
  }
  return added;
}

/// Reads the number in `name`, which is `prefix`, digits, and anything that does not begin with a digit.
std::optional<uint64_t> NumberIn(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end == name.data()) return std::nullopt;
  return number;
}

/// Tables that are gone, each with the LSN through which the log may have rows of it.
std::map<TableId, Lsn> DroppedIn(const json& extra) {
  std::map<TableId, Lsn> dropped;
  const json listed = extra.value("dropped", json::object());
  for (const auto& [id, through] : listed.items()) {
    if (const std::optional<uint64_t> table = NumberIn(id, "")) dropped[TableId(*table)] = Lsn(through.get<uint64_t>());
  }
  return dropped;
}

/// 0 where there is none.
uint64_t NumberAt(const json& object, const char* key) {
  const json number = object.is_object() ? object.value(key, json()) : json();
  return number.is_number_unsigned() ? number.get<uint64_t>() : 0;
}

}  // namespace

Status LocalDatabase::Recover() {
  const int64_t began_ns = clock_->MonotonicNs();
  if (!options_.read_only) {
    for (const std::string& path : {paths_.root, paths_.parts, paths_.log, paths_.batch_ids}) {
      SHEAF_RETURN_NOT_OK(files_->MakeDirectories(path));
    }
    SHEAF_RETURN_NOT_OK(files_->SyncDirectory(paths_.root));
  }
  SHEAF_ASSIGN_OR_RETURN(lock_, files_->Lock(paths_.lock));
  SHEAF_ASSIGN_OR_RETURN(const parts::ManifestLoad manifest, LoadOrCreateManifest());
  if (manifest.fell_back) {
    LogWarn("manifest.fell_back", {{"directory", options_.directory}, {"manifest", manifest.state.number}});
  }
  parts::ManifestState state = manifest.state;
  {
    MutexLock lock(&commit_mutex_);
    database_uuid_ = state.database_uuid;
    next_table_ = state.next_table;
    covered_ = ids_through_ = state.covered;
    truncated_ = manifest.truncatable;
    covered_lsn_.store(covered_.value);
    committed_ns_ = began_ns;
    manifest_number_ = state.number;
    SHEAF_ASSIGN_OR_RETURN(const auto list, files_->List(paths_.root));
    for (const io::FileInfo& file : list) {
      manifest_number_ = std::max(manifest_number_, NumberIn(file.name, "MANIFEST-").value_or(0));
    }
  }
  Failpoint("store.manifest_loaded");
  SHEAF_RETURN_NOT_OK(FindOrphans(&state));
  SHEAF_RETURN_NOT_OK(OpenTables(state));
  Failpoint("store.tables_opened");
  SHEAF_RETURN_NOT_OK(OpenLog(manifest));
  Failpoint("store.log_opened");
  if (!options_.read_only) LogDefinitions();
  LogInfo("database.opened", {{"directory", options_.directory},
                              {"manifest", state.number},
                              {"parts", state.parts.size()},
                              {"covered", state.covered},
                              {"visible", versions_.visible()},
                              {"seconds", static_cast<double>(clock_->MonotonicNs() - began_ns) * 1e-9}});
  return Status::OK();
}

Result<parts::ManifestLoad> LocalDatabase::LoadOrCreateManifest() {
  auto loaded = parts::LoadManifest(files_, paths_.root);
  if (!loaded.ok() && KindOf(loaded.status()) != ErrorKind::kNotFound) {
    return WithContext(loaded.status(), "'sheaf verify' lists all damage");
  }
  if (!loaded.ok()) {
    if (options_.read_only) return MakeError(ErrorKind::kNotFound, "there is no database in {}", options_.directory);
    for (const std::string& path : {paths_.log, paths_.parts}) {
      SHEAF_ASSIGN_OR_RETURN(const auto list, ListIfThere(files_, path));
      if (list.empty()) continue;
      return MakeError(ErrorKind::kCorruption,
                       "there is no manifest, but {} holds {}: files of a database are missing. Restore a copy of the database",
                       path, list.front().name);
    }
    loaded = parts::ManifestLoad();
    loaded->state.database_uuid = NewDatabaseUuid();
  }
  SHEAF_ASSIGN_OR_RETURN(const bool added, AddReadyTables(&loaded->state));
  if (added && !options_.read_only) {
    parts::ManifestState& state = loaded->state;
    ++state.number;
    if (state.extra_json.empty()) state.extra_json = "{}";
    SHEAF_RETURN_NOT_OK(parts::CommitManifest(files_, paths_.root, state));
  }
  return loaded;
}

/// Files that the manifest does not name are left from a crash, or replaced since an older manifest that
/// is still kept: they go once no kept manifest can name them, and their ids are not used again.
Status LocalDatabase::FindOrphans(parts::ManifestState* state) {
  std::set<std::string> named;
  for (const parts::PartInfo& part : state->parts) {
    named.insert(part.file_name);
    named.insert(parts::IndexFileName(part.id));
    if (!part.dead_file.empty()) named.insert(part.dead_file);
  }
  MutexLock lock(&commit_mutex_);
  SHEAF_ASSIGN_OR_RETURN(const auto part_files, ListIfThere(files_, paths_.parts));
  for (const io::FileInfo& file : part_files) {
    if (named.contains(file.name)) continue;
    const std::optional<uint64_t> id = NumberIn(file.name, "part-");
    if (!id) {
      LogWarn("part.foreign_file", {{"file", io::Join(paths_.parts, file.name)}, {"action", "left alone"}});
      continue;
    }
    state->next_part = std::max(state->next_part, PartId(*id + 1));
    // A delete vector is named by the number of its manifest. Under a number that is given out again it would be removed as left over
    // while a manifest names it.
    const std::string parts_name = fmt::format("part-{}-", *id);
    manifest_number_ = std::max(manifest_number_, NumberIn(file.name, parts_name).value_or(0));
    obsolete_.push_back({io::Join(paths_.parts, file.name), manifest_number_, {}});
  }
  SHEAF_ASSIGN_OR_RETURN(const json extra, ReadExtra(*state));
  if (const auto ids = extra.find("batch_ids"); ids != extra.end()) id_files_ = ids->get<std::vector<std::string>>();
  SHEAF_ASSIGN_OR_RETURN(const auto id_files, ListIfThere(files_, paths_.batch_ids));
  for (const io::FileInfo& file : id_files) {
    if (std::find(id_files_.begin(), id_files_.end(), file.name) != id_files_.end()) continue;
    manifest_number_ = std::max(manifest_number_, NumberIn(file.name, "ids-").value_or(0));
    obsolete_.push_back({io::Join(paths_.batch_ids, file.name), manifest_number_, {}});
  }
  if (!obsolete_.empty()) LogInfo("database.unnamed_files", {{"directory", options_.directory}, {"files", obsolete_.size()}});
  return LoadBatchIds(id_files_);
}

Status LocalDatabase::LoadBatchIds(const std::vector<std::string>& names) {
  if (Mutant("dedup_window_lost")) return Status::OK();
  for (const std::string& name : names) {
    SHEAF_ASSIGN_OR_RETURN(std::vector<BatchIdRecord> records, ReadBatchIds(files_, io::Join(paths_.batch_ids, name)));
    for (BatchIdRecord& record : records) batch_ids_.Remember(std::move(record));
  }
  return Status::OK();
}

Result<std::shared_ptr<const Part>> LocalDatabase::OpenOrSetAside(const TableInfo& table, const parts::PartInfo& info,
                                                                  const std::map<std::string, std::string>& damaged) const {
  const std::string name = table.schema_name + "." + table.name;
  if (const auto known = damaged.find(fmt::format("{}", info.id)); known != damaged.end()) {
    LogError("part.set_aside", {{"table", name}, {"part", info.id}, {"error", known->second}});
    return DamagedPart(table, info, known->second);
  }
  auto part = OpenPartOf(table, info);
  // Of a newer format is not damaged.
  if (part.ok() || !IsDamage(part.status()) || KindOf(part.status()) == ErrorKind::kUnsupported) return part;
  LogError("part.set_aside", {{"table", name}, {"part", info.id}, {"error", part.status().message()}});
  return DamagedPart(table, info, part.status().message());
}

Status LocalDatabase::OpenTables(const parts::ManifestState& state) {
  SHEAF_ASSIGN_OR_RETURN(const json extra, ReadExtra(state));
  const json sealed = extra.value("sealed", json::object());
  const auto damaged = extra.value("damaged", json::object()).get<std::map<std::string, std::string>>();
  std::vector<VersionSet::Table> tables;
  for (const parts::TableRecord& record : state.tables) {
    VersionSet::Table& table = tables.emplace_back();
    SHEAF_ASSIGN_OR_RETURN(table.info, TableOf(record));
    const json lsn = sealed.value(fmt::format("{}", record.id), json(uint64_t{0}));
    table.sealed = Lsn(lsn.get<uint64_t>());
    // Who made tables in there has states that go on from some entry of the log, and calls KeepLogAfter() before long.
    if (table.info->schema_name == kEngineSchema) log_kept_after_.store(0);
  }
  for (const parts::PartInfo& info : state.parts) {
    const auto table = std::find_if(tables.begin(), tables.end(), [&](const auto& t) { return t.info->id == info.table; });
    if (table == tables.end()) {
      return MakeError(ErrorKind::kCorruption, "the manifest names part {} of table {}, which it does not have", info.id, info.table);
    }
    SHEAF_ASSIGN_OR_RETURN(table->parts.emplace_back(), OpenOrSetAside(*table->info, info, damaged));
  }
  SHEAF_RETURN_NOT_OK(versions_.Start(std::move(tables), state.covered, state.next_part));
  {
    MutexLock lock(&commit_mutex_);
    dropped_ = DroppedIn(extra);
    definitions_ = NumberAt(extra, "definitions");
    const json unlogged = extra.value("unlogged", json::array());
    for (const json& step : unlogged) {
      unlogged_.push_back({.number = NumberAt(step, "number"),
                           .table = TableId(NumberAt(step, "table")),
                           .dropped = TableId(NumberAt(step, "dropped"))});
    }
  }
  const json seen = extra.value("retention_clock_ns", json(int64_t{0}));
  MutexLock lock(&upkeep_mutex_);
  retention_clock_.Start(seen.get<int64_t>(), clock_->NowNs(), clock_->MonotonicNs());
  retention_now_ns_.store(retention_clock_.now_ns());
  return Status::OK();
}

Status LocalDatabase::OpenLog(const parts::ManifestLoad& manifest) {
  wal::LogOptions options;
  options.directory = paths_.log;
  options.segment_bytes = options_.log_segment_bytes;
  options.queue_bytes_max = options_.log_queue_bytes_max;
  options.buffered_sync_ms = options_.buffered_sync_ms;
  options.direct_io = options_.log_direct_io;
  options.cpu = options_.log_cpu;
  if (options_.archive_log) options.archive_directory = paths_.archive;
  options.epoch = manifest.state.epoch;
  if (manifest.state.database_uuid.size() == options.database_id.size()) {
    std::memcpy(options.database_id.data(), manifest.state.database_uuid.data(), options.database_id.size());
  }
  const int64_t began_ns = clock_->MonotonicNs();
  wal::RecoveryReport report;
  Replayer replayer([this, began_ns](const Replayer::Entry& entry) { return PublishReplayed(entry, began_ns); });
  SHEAF_ASSIGN_OR_RETURN(
      log_, wal::Log::Open(
                files_, clock_, options, manifest.state.covered, std::max(manifest.state.durable, manifest.state.covered),
                [this, &replayer](const wal::LoggedEntry& entry) { return ReplayEntry(entry, &replayer); },
                [this](const wal::LoggedEntry& entry) { OnVisible(entry); }, &report));
  SHEAF_RETURN_NOT_OK(replayer.Finish());
  LogInfo("log.replayed", {{"directory", paths_.log},
                           {"first", report.first},
                           {"last", report.last},
                           {"entries", report.entries},
                           {"bytes", report.bytes},
                           {"torn_bytes", report.torn_bytes},
                           {"seconds", static_cast<double>(clock_->MonotonicNs() - began_ns) * 1e-9}});
  return Status::OK();
}

namespace {

/// What is wrong with a row that the log holds is damage, whatever it is called where a client sends one.
Status AsDamage(const Status& status) {
  if (status.ok() || KindOf(status) != ErrorKind::kInvalid) return status;
  return MakeStatus(ErrorKind::kCorruption, status.message());
}

Status ReplayRow(const TableInfo& table, std::string_view row, VersionSet::NewRows* added) {
  if (table.rows == nullptr) {
    return MakeError(ErrorKind::kCorruption, "it holds compact rows of {}.{}, which cannot have any", table.schema_name, table.name);
  }
  SHEAF_RETURN_NOT_OK(AsDamage(table.rows->Check(row)));
  SHEAF_RETURN_NOT_OK(AsDamage(table.keys->EncodeRow(*table.rows, row, &added->keys.bytes)));
  added->keys.ends.push_back(static_cast<uint32_t>(added->keys.bytes.size()));
  added->row = row;
  return Status::OK();
}

}  // namespace

/// What a section of a log entry does, as it was prepared when it was appended.
Result<VersionSet::NewRows> LocalDatabase::ReplaySection(const PayloadSection& section, const TableVersion& table) const {
  VersionSet::NewRows added;
  added.table = section.table;
  added.op = section.op;
  added.condition = section.condition;
  added.bytes = section.messages->size();
  const TableInfo& info = *table.info;
  if (!table.is_keyed() && (section.op != RowOp::kPut || section.form != SectionForm::kArrow)) {
    return MakeError(ErrorKind::kCorruption, "it changes rows of {}.{}, which has no primary key", info.schema_name, info.name);
  }
  if (section.form == SectionForm::kArrow) {
    SHEAF_ASSIGN_OR_RETURN(added.batch, DecodeSection(section, *table.codec));
    if (table.is_keyed()) {
      auto keys = info.keys->Encode(*added.batch);
      if (!keys.ok()) return AsDamage(keys.status());
      added.keys = *std::move(keys);
    } else {
      added.chunk = table.active.append->MakeChunk(std::exchange(added.batch, nullptr), added.bytes);
    }
    return added;
  }
  SHEAF_ASSIGN_OR_RETURN(const std::vector<std::string_view> packed, DecodePacked(section));
  if (section.form == SectionForm::kKeys) {
    for (const std::string_view key : packed) added.keys.Add(key);
    return added;
  }
  if (packed.size() != 1) {
    return MakeError(ErrorKind::kCorruption, "it holds {} compact rows of {}.{}", packed.size(), info.schema_name, info.name);
  }
  SHEAF_RETURN_NOT_OK(ReplayRow(info, packed.front(), &added));
  return added;
}

/// ReplaySection() of what most entries are; `added` is one of an entry before, whose memory is used again.
Status LocalDatabase::ReplaySingle(const SingleItem& single, const TableVersion& table, VersionSet::NewRows* added) {
  added->table = single.table;
  added->op = single.op;
  added->condition = {};
  added->row = {};
  added->keys.bytes.clear();
  added->keys.ends.clear();
  if (single.form == SectionForm::kRows) return ReplayRow(*table.info, single.item, added);
  added->keys.Add(single.item);
  return Status::OK();
}

Result<const TableVersion*> LocalDatabase::TableToReplay(const Version& version, Lsn lsn, TableId id, uint32_t schema_version,
                                                         bool skip_sealed) const {
  const TableVersion* table = version.Find(id);
  if (table == nullptr && skip_sealed && WasDropped(id, lsn)) return nullptr;
  if (table == nullptr) {
    return MakeError(skip_sealed ? ErrorKind::kCorruption : ErrorKind::kUnsupported,
                     "log entry {} has rows for table {}, which the manifest does not have", lsn, id);
  }
  if (skip_sealed && lsn <= table->sealed) return nullptr;
  if (schema_version != table->info->schema_version) {
    return MakeError(ErrorKind::kUnsupported, "log entry {} has rows for {}.{} with schema version {}; the table has {}", lsn,
                     table->info->schema_name, table->info->name, schema_version, table->info->schema_version);
  }
  return table;
}

/// What an entry does, of what is not in parts yet. The rows point into `bytes`.
Result<std::vector<VersionSet::NewRows>> LocalDatabase::ReplaySections(const Version& version, Lsn lsn,
                                                                       const std::shared_ptr<arrow::Buffer>& bytes,
                                                                       bool skip_sealed) const {
  auto sections = SplitPayload(bytes);
  if (!sections.ok()) return WithContext(sections.status(), fmt::format("log entry {}", lsn));
  std::vector<VersionSet::NewRows> rows;
  for (const PayloadSection& section : *sections) {
    SHEAF_ASSIGN_OR_RETURN(const TableVersion* table,
                           TableToReplay(version, lsn, section.table, section.schema_version, skip_sealed));
    if (table == nullptr) continue;
    auto added = ReplaySection(section, *table);
    if (!added.ok()) return WithContext(added.status(), fmt::format("log entry {}", lsn));
    rows.push_back(*std::move(added));
  }
  return rows;
}

bool LocalDatabase::WasDropped(TableId table, Lsn lsn) const {
  MutexLock lock(&commit_mutex_);
  const auto dropped = dropped_.find(table);
  return dropped != dropped_.end() && lsn <= dropped->second;
}

Status LocalDatabase::ReplayEntry(const wal::LoggedEntry& logged, Replayer* replayer) {
  Replayer::Entry* const entry = replayer->Next();
  entry->lsn = logged.lsn;
  entry->time_ns = logged.time_ns;
  entry->batch_id = logged.entry.batch_id;
  if (logged.entry.type == kDefinitionEntry) {
    SHEAF_RETURN_NOT_OK(NoteDefinition(logged));
    entry->rows.clear();
    return replayer->Add();
  }
  if (logged.entry.type != kRowsEntry) {
    return MakeError(ErrorKind::kUnsupported, "log entry {} is of type {}, which this program does not know; use a newer one", logged.lsn,
                     logged.entry.type);
  }
  const std::shared_ptr<const Version> version = versions_.current();
  if (const auto single = AsSingleItem(*logged.entry.payload); single && version->IsKeyed(single->table)) {
    entry->payload = logged.entry.payload;  // Memtables copy single rows.
    SHEAF_ASSIGN_OR_RETURN(const TableVersion* table, TableToReplay(*version, logged.lsn, single->table, single->schema_version,
                                                                    /*skip_sealed=*/true));
    entry->rows.resize(table == nullptr ? 0 : 1);
    if (table == nullptr) return replayer->Add();
    entry->rows.front().bytes = logged.entry.payload->size();
    const Status read = ReplaySingle(*single, *table, &entry->rows.front());
    return read.ok() ? replayer->Add() : WithContext(read, fmt::format("log entry {}", logged.lsn));
  }
  // The payload may lie in a mapping of the segment; rows stay in memory after the segment is gone.
  SHEAF_ASSIGN_OR_RETURN(entry->payload, arrow::AllocateBuffer(logged.entry.payload->size(), &NamedPool("ingest")));
  std::memcpy(entry->payload->mutable_data(), logged.entry.payload->data(), static_cast<size_t>(entry->payload->size()));
  SHEAF_ASSIGN_OR_RETURN(entry->rows, ReplaySections(*version, logged.lsn, entry->payload, /*skip_sealed=*/true));
  return replayer->Add();
}

Status LocalDatabase::PublishReplayed(const Replayer::Entry& entry, int64_t now_ns) {
  const Status outcome = versions_.Publish(entry.lsn, entry.rows, now_ns).outcome;
  if (!outcome.ok()) {
    const ErrorKind kind = KindOf(outcome);
    // The condition did not hold when the entry was written, either.
    if (kind == ErrorKind::kConflict || kind == ErrorKind::kAlreadyExists) return Status::OK();
    return WithContext(outcome, fmt::format("log entry {}", entry.lsn));
  }
  for (const VersionSet::NewRows& added : entry.rows) ingest_->Add(added.bytes);
  if (!entry.batch_id.empty()) batch_ids_.Remember({entry.batch_id, entry.lsn, entry.time_ns});
  return Status::OK();
}

}  // namespace sheaf::store
