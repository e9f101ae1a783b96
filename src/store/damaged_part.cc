#include "store/damaged_part.h"

#include <utility>
#include <vector>

#include "columns/granules.h"
#include "parts/keyed_part.h"
#include "store/version.h"

namespace sheaf::store {
namespace {

/// One granule that cannot be read; of its columns only the range of times is known.
class DamagedSource : public columns::GranuleSource {
 public:
  DamagedSource(const TableInfo& table, const parts::PartInfo& info, std::string damage)
      : info_(info),
        schema_(table.kind == TableKind::kKeyed ? parts::KeyedSchema(*table.schema) : table.schema),
        damage_(std::move(damage)),
        table_name_(table.schema_name + "." + table.name) {
    const int column = table.layout.time_column;
    if (column < 0 || info.time_max == INT64_MAX) return;
    const arrow::DataType& type = *schema_->field(column)->type();
    const bool in_ns = type.id() == arrow::Type::TIMESTAMP &&
                       static_cast<const arrow::TimestampType&>(type).unit() == arrow::TimeUnit::NANO;
    if (!in_ns) return;
    time_column_ = column;
    time_.kind = columns::Zone::Kind::kInt64;
    time_.int_min = info.time_min;
    time_.int_max = info.time_max;
  }

  const std::shared_ptr<arrow::Schema>& schema() const override { return schema_; }
  const std::string& name() const override { return info_.file_name; }
  uint64_t ordinal() const override { return info_.id.value; }
  int64_t rows() const override { return info_.rows; }
  Lsn min_lsn() const override { return info_.min_lsn; }
  Lsn max_lsn() const override { return info_.max_lsn; }
  int num_granules() const override { return 1; }
  int64_t granule_rows(int) const override { return info_.rows; }
  const columns::Zone* source_zone(int column) const override { return column == time_column_ ? &time_ : nullptr; }
  const columns::Zone* granule_zone(int, int column) const override { return source_zone(column); }
  bool has_filter(int) const override { return false; }
  Status FindGranules(int, std::string_view, std::vector<int>* granules) const override {
    granules->push_back(0);
    return Status::OK();
  }
  Result<std::shared_ptr<arrow::RecordBatch>> Read(int, const std::vector<int>&) const override { return Refusal(); }
  int64_t granule_bytes(int, const std::vector<int>&) const override { return info_.data_bytes; }
  const std::string& damage() const override { return damage_; }

  Status Refusal() const {
    return MakeError(ErrorKind::kCorruption,
                     "part {} of {}, with {} rows, is damaged and set aside: {}. Rows elsewhere can be read; 'sheaf salvage' makes a new "
                     "database of all that can be",
                     info_.id, table_name_, info_.rows, damage_);
  }

 private:
  const parts::PartInfo info_;
  const std::shared_ptr<arrow::Schema> schema_;
  const std::string damage_, table_name_;
  int time_column_ = -1;
  columns::Zone time_;
};

}  // namespace

std::shared_ptr<const Part> DamagedPart(const TableInfo& table, parts::PartInfo info, std::string damage) {
  Part part;
  part.source = part.file = std::make_shared<DamagedSource>(table, info, std::move(damage));
  part.info = std::move(info);
  return std::make_shared<const Part>(std::move(part));
}

Status CheckNotNeeded(const Part& damaged, std::string_view key) {
  if (key < damaged.info.key_min || key > damaged.info.key_max) return Status::OK();
  return static_cast<const DamagedSource&>(*damaged.source).Refusal();
}

bool IsDamage(const Status& status) {
  const ErrorKind kind = KindOf(status);
  return kind == ErrorKind::kCorruption || kind == ErrorKind::kNotFound || kind == ErrorKind::kUnsupported;
}

}  // namespace sheaf::store
