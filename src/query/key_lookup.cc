#include "query/key_lookup.h"

#include <set>
#include <string>
#include <utility>

#include "columns/key_codec.h"
#include "query/pruning.h"
#include "query/table_rows.h"

namespace sheaf::query {

namespace {

constexpr size_t kKeysMax = 1024;  // A longer list touches so much that scanning is no slower.

class FoundSource : public columns::GranuleSource {
 public:
  FoundSource(std::shared_ptr<arrow::Schema> schema, std::vector<store::KeyedRow> rows)
      : schema_(std::move(schema)), rows_(std::move(rows)) {}

  const std::shared_ptr<arrow::Schema>& schema() const override { return schema_; }
  const std::string& name() const override { return name_; }
  uint64_t ordinal() const override { return 0; }
  int64_t rows() const override { return static_cast<int64_t>(rows_.size()); }
  Lsn min_lsn() const override { return Lsn(); }
  Lsn max_lsn() const override { return Lsn(); }
  int num_granules() const override { return static_cast<int>(rows_.size()); }
  int64_t granule_rows(int) const override { return 1; }
  const columns::Zone* source_zone(int) const override { return nullptr; }
  const columns::Zone* granule_zone(int, int) const override { return nullptr; }
  bool has_filter(int) const override { return false; }
  Status FindGranules(int, std::string_view, std::vector<int>*) const override { return Status::OK(); }
  Result<std::shared_ptr<arrow::RecordBatch>> Read(int granule, const std::vector<int>& columns) const override {
    SHEAF_ASSIGN_OR_RETURN(auto chosen, rows_[static_cast<size_t>(granule)].batch->SelectColumns(columns));
    return chosen->Slice(rows_[static_cast<size_t>(granule)].row, 1);
  }
  int64_t granule_bytes(int, const std::vector<int>& columns) const override { return static_cast<int64_t>(columns.size()) * 8; }

 private:
  const std::string name_ = "memtable";  // Not a part: EXPLAIN counts those.
  const std::shared_ptr<arrow::Schema> schema_;
  const std::vector<store::KeyedRow> rows_;
};

bool IsOn(const PushedFilter& filter, int column) {
  return filter.logical != nullptr && filter.logical->physical == column && filter.logical->field == Field::kWhole &&
         filter.logical->form == Form::kPlain;
}

/// For each column of the key the values it may have, none of them NULL.
std::optional<std::vector<std::vector<duckdb::Value>>> BoundKey(const store::TableInfo& info, const std::vector<PushedFilter>& filters) {
  std::vector<std::vector<duckdb::Value>> key;
  size_t combinations = 1;
  for (const int column : info.key_columns) {
    std::optional<std::vector<duckdb::Value>> values;
    for (const PushedFilter& filter : filters) {
      if (!values && IsOn(filter, column)) values = ImpliedValues(*filter.filter, kKeysMax);
    }
    if (!values) return std::nullopt;
    std::erase_if(*values, [](const duckdb::Value& value) { return value.IsNull(); });
    combinations *= values->size();
    if (combinations > kKeysMax) return std::nullopt;
    key.push_back(std::move(*values));
  }
  return key;
}

/// All combinations of the values, encoded. Nothing where one of them is no value of the column.
std::optional<columns::KeyColumn> EncodeKeys(duckdb::ClientContext& context, const store::TableInfo& info,
                                             const std::vector<std::vector<duckdb::Value>>& key) {
  std::vector<std::vector<std::shared_ptr<arrow::Scalar>>> rows = {{}};
  for (size_t i = 0; i < key.size(); ++i) {
    auto type = info.schema->field(info.key_columns[i])->type();
    if (type->id() == arrow::Type::DICTIONARY) type = static_cast<const arrow::DictionaryType&>(*type).value_type();
    std::vector<std::vector<std::shared_ptr<arrow::Scalar>>> longer;
    for (const duckdb::Value& value : key[i]) {
      auto scalar = ToScalar(context, value, type);
      if (!scalar.ok()) return std::nullopt;
      for (const auto& row : rows) {
        longer.push_back(row);
        longer.back().push_back(*scalar);
      }
    }
    rows = std::move(longer);
  }
  std::set<std::string> distinct;  // A list may name a value twice, and its row comes once.
  for (const auto& row : rows) {
    auto encoded = info.keys->EncodeScalars(row);
    if (!encoded.ok()) return std::nullopt;
    distinct.insert(*std::move(encoded));
  }
  columns::KeyColumn keys;
  for (const std::string& key_bytes : distinct) keys.Add(key_bytes);
  return keys;
}

}  // namespace

Result<std::optional<FoundRows>> FindByKey(duckdb::ClientContext& context, const ScanBind& bind, const std::vector<PushedFilter>& filters) {
  const store::TableInfo& info = *bind.table.info;
  if (info.kind != store::TableKind::kKeyed) return std::nullopt;
  if (!StoreTransaction::Get(context, bind.entry->catalog).snapshot().FindsByKey(info.id)) return std::nullopt;
  const auto key = BoundKey(info, filters);
  if (!key) return std::nullopt;
  const auto keys = EncodeKeys(context, info, *key);
  if (!keys) return std::nullopt;
  const store::Snapshot& snapshot = StoreTransaction::Get(context, bind.entry->catalog).snapshot();
  FoundRows found;
  if (keys->size() == 1) {
    SHEAF_ASSIGN_OR_RETURN(auto row, snapshot.Get(info.id, (*keys)[0]));
    if (row) found.rows.push_back(std::move(row));
  } else if (keys->size() > 1) {
    SHEAF_ASSIGN_OR_RETURN(auto rows, snapshot.MultiGet(info.id, *keys));
    std::erase_if(rows, [](const store::KeyedRow& row) { return !row; });
    found.rows = std::move(rows);
  }
  found.source = std::make_shared<FoundSource>(info.schema, found.rows);
  return found;
}

bool BindsKey(const duckdb::LogicalGet& get) {
  const auto& bind = get.bind_data->Cast<ScanBind>();
  if (bind.table.info->kind != store::TableKind::kKeyed) return false;
  std::vector<PushedFilter> filters;
  for (const auto& [column, filter] : get.table_filters.filters) {
    filters.push_back({.column = column, .filter = filter.get(), .logical = bind.Find(column), .type = {}});
  }
  return BoundKey(*bind.table.info, filters).has_value();
}

const char* AccessName(const ScanBind& bind, const std::vector<PushedFilter>& filters, bool by_key) {
  if (by_key) return "point get by key";
  if (bind.table.info->kind != store::TableKind::kKeyed) return "scan";
  for (const PushedFilter& filter : filters) {
    if (IsOn(filter, bind.table.info->key_columns[0])) return "range scan by key";
  }
  return "scan";
}

}  // namespace sheaf::query
