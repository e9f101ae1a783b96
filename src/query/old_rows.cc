#include "query/old_rows.h"

#include "query/granule_plan.h"

namespace sheaf::query {

Result<std::shared_ptr<arrow::RecordBatch>> ReadRows(const StoreTransaction& transaction, const store::TableSnapshot& table,
                                                     const std::vector<int64_t>& row_numbers, const std::vector<int>& columns) {
  arrow::FieldVector fields;
  for (const int column : columns) fields.push_back(table.info->schema->field(column));
  const auto schema = arrow::schema(std::move(fields));
  arrow::RecordBatchVector runs;
  // A granule is read once for the rows in it that follow each other here, which a scan delivers so.
  RowPlace read_place;
  std::shared_ptr<arrow::RecordBatch> granule;
  for (size_t i = 0; i < row_numbers.size();) {
    if (row_numbers[i] >= kFoundRowBase) {
      const store::KeyedRow row = transaction.FoundRow(row_numbers[i++]);
      SHEAF_ASSIGN_OR_RETURN(auto chosen, row.Slice()->SelectColumns(columns));
      runs.push_back(std::move(chosen));
      continue;
    }
    const RowPlace place = PlaceOf(row_numbers[i]);
    if (granule == nullptr || place.source != read_place.source || place.granule != read_place.granule) {
      SHEAF_ASSIGN_OR_RETURN(granule, table.sources.at(place.source).source->Read(place.granule, columns));
      read_place = place;
    }
    size_t end = i + 1;
    while (end < row_numbers.size() && row_numbers[end] == row_numbers[end - 1] + 1) ++end;
    runs.push_back(granule->Slice(place.row, static_cast<int64_t>(end - i)));
    i = end;
  }
  for (auto& run : runs) run = arrow::RecordBatch::Make(schema, run->num_rows(), run->columns());  // Sources differ in metadata.
  return runs.size() == 1 ? Result<std::shared_ptr<arrow::RecordBatch>>(runs[0]) : arrow::ConcatenateRecordBatches(runs);
}

}  // namespace sheaf::query
