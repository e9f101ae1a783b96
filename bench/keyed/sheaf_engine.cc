/// Sheaf behind KeyValue: a keyed table `kv(k BLOB PRIMARY KEY, v BLOB NOT NULL)`, or one without a key, which takes batches only.

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>

#include <arrow/api.h>

#include "columns/row_codec.h"
#include "io/posix.h"
#include "../must.h"
#include "key_value.h"
#include "store/database.h"

namespace sheaf::bench {
namespace {

class SheafEngine : public KeyValue {
 public:
  SheafEngine(const std::string& folder, const EngineLimits& limits) {
    store::Options options;
    options.directory = folder;
    options.memtable_bytes = static_cast<int64_t>(limits.memtable_bytes);
    options.ingest_memory_bytes_max = std::max(options.ingest_memory_bytes_max, 2 * options.memtable_bytes);
    options.free_space_min_fraction = 0;
    database_ = Must(store::Database::Open(io::PosixFileSystem(), io::SystemClock(), options));
    if (const auto there = database_->FindTable("main", "kv"); there.ok()) {  // After a restart.
      info_ = *there;
      return;
    }
    store::NewTable table;
    table.schema_name = "main";
    table.name = "kv";
    table.schema = arrow::schema({arrow::field("k", arrow::binary(), false), arrow::field("v", arrow::binary(), false)});
    if (limits.keyed) table.primary_key = {"k"};
    info_ = Must(database_->CreateTable(table));
  }
  ~SheafEngine() override { Must(database_->Close()); }

  const char* name() const override { return "sheaf"; }

  void Put(std::string_view key, std::string_view value, bool durable) override {
    const std::string_view row = RowOf(key, value);
    store::WriteOptions write;
    write.durability = durable ? store::Durability::kLocal : store::Durability::kBuffered;
    while (true) {
      const auto done = database_->PutRow(info_->id, row, write);
      if (done.ok()) return;
      if (KindOf(done.status()) != ErrorKind::kThrottled) Must(done.status());
    }
  }

  bool PutAsync(std::string_view key, std::string_view value, std::function<void()> done) override {
    store::WriteOptions write;
    write.durability = store::Durability::kLocal;
    Must(database_->PutRowAsync(info_->id, RowOf(key, value), write, [done = std::move(done)](const Result<Lsn>& lsn) {
      Must(lsn.status());
      done();
    }));
    return true;
  }

  void PutBatch(const Pairs& pairs, bool durable) override {
    arrow::BinaryBuilder keys, values;
    for (const auto& [key, value] : pairs) {
      Must(keys.Append(key));
      Must(values.Append(value));
    }
    const auto batch =
        arrow::RecordBatch::Make(info_->schema, static_cast<int64_t>(pairs.size()), {Must(keys.Finish()), Must(values.Finish())});
    store::WriteOptions write;
    write.durability = durable ? store::Durability::kLocal : store::Durability::kBuffered;
    while (true) {
      const auto done = database_->Append({{info_->id, batch}}, write);
      if (done.ok()) return;
      if (KindOf(done.status()) != ErrorKind::kThrottled) Must(done.status());
    }
  }

  int64_t Get(std::string_view key) override {
    if (info_->keys == nullptr) return FindFromBehind(key);
    const store::KeyedRow row = Must(database_->Get(info_->id, key));  // One binary column: the key is its own encoding.
    if (!row) return -1;
    return SumOf(*row.batch, row.row);
  }

  void Flush() override { Must(database_->Flush()); }
  void Settle() override { Flush(); }

 private:
  static int64_t SumOf(const arrow::RecordBatch& batch, int64_t row) {
    const arrow::ArrayData& values = *batch.column_data(1);
    const int32_t* ends = values.GetValues<int32_t>(1) + row;
    const uint8_t* bytes = values.buffers[2]->data();
    int64_t sum = 0;
    for (int32_t i = ends[0]; i < ends[1]; ++i) sum += bytes[i];
    return sum;
  }

  /// Of a table without a key: looks at the newest rows first.
  int64_t FindFromBehind(std::string_view key) {
    const store::TableSnapshot table = Must(database_->GetSnapshot()->Table(info_->id));
    for (auto view = table.sources.rbegin(); view != table.sources.rend(); ++view) {
      for (int granule = view->source->num_granules() - 1; granule >= 0; --granule) {
        const auto batch = Must(view->source->Read(granule, {0, 1}));
        const auto& keys = static_cast<const arrow::BinaryArray&>(*batch->column(0));
        for (int64_t row = keys.length() - 1; row >= 0; --row) {
          if (keys.GetView(row) == key) return SumOf(*batch, row);
        }
      }
    }
    return -1;
  }

  /// Valid until the next call on this thread.
  std::string_view RowOf(std::string_view key, std::string_view value) {
    thread_local std::pair<int64_t, std::unique_ptr<columns::RowBuilder>>
        mine;  // Of this thread, for the engine with that number.
    if (mine.first != number_) mine = {number_, std::make_unique<columns::RowBuilder>(info_->rows.get())};
    columns::RowBuilder& builder = *mine.second;
    builder.Clear();
    builder.SetText(0, key);
    builder.SetText(1, value);
    return builder.Finish();
  }

  static inline std::atomic<int64_t> engines_{0};
  const int64_t number_ = ++engines_;
  std::unique_ptr<store::Database> database_;
  std::shared_ptr<const store::TableInfo> info_;
};

}  // namespace

std::unique_ptr<KeyValue> OpenSheaf(const std::string& folder, const EngineLimits& limits) {
  return std::make_unique<SheafEngine>(folder, limits);
}

}  // namespace sheaf::bench
