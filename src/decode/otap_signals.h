/// The three signals of OTel-Arrow: the tables of a batch to record batches of the ready tables.

#pragma once

#include <vector>

#include "decode/decoder.h"
#include "decode/otap_attributes.h"
#include "decode/otap_columns.h"
#include "decode/otap_envelopes.h"

namespace sheaf::decode {

/// What decoding a batch needs, whatever its signal. Not thread-safe.
struct OtapContext {
  explicit OtapContext(const Limits& decoder_limits) : limits(decoder_limits), columns(&buffers) {}
  const Limits limits;
  RecycledBuffers buffers;
  OtapColumns columns;
  OtapEnvelopes envelopes;
  bool has_invalid_ids = false;  // A span without a valid trace or span id.
};

/// Each appends to `batches` the rows of a batch whose root table has some. Errors: Invalid, TooLarge, as the parts they use.
Status MakeOtapSpans(const OtapTables& tables, OtapContext* context, std::vector<TableBatch>* batches);
Status MakeOtapLogs(const OtapTables& tables, OtapContext* context, std::vector<TableBatch>* batches);
Status MakeOtapMetrics(const OtapTables& tables, OtapContext* context, std::vector<TableBatch>* batches);

/// The attributes of rows, as a column, from the table `type` of the batch; without such a table, lists that are empty.
/// `places` as in OtapAttributes::Column.
Result<ArrayDataPtr> MakeOtapAttributes(const OtapTables& tables, wire::OtapPayload type, const IdIndex& parents,
                                        const int32_t* places, int64_t rows, const TypePtr& column_type, OtapContext* context);

/// The places of a table's rows in an order that holds each at most once; negative for rows that are not in it.
int32_t* PlacesOf(const RowOrder& order, int64_t rows, OtapColumns* columns);

/// Collects a table's columns, in the order of its schema.
class OtapBatch {
 public:
  explicit OtapBatch(Signal signal) : signal_(signal), schema_(SignalSchema(signal)) {
    columns_.reserve(static_cast<size_t>(schema_->num_fields()));
  }
  const TypePtr& next_type() const { return schema_->field(static_cast<int>(columns_.size()))->type(); }
  void Add(ArrayDataPtr column) { columns_.push_back(std::move(column)); }
  const ArrayDataPtr& last() const { return columns_.back(); }
  TableBatch Finish(int64_t rows) { return {signal_, arrow::RecordBatch::Make(schema_, rows, std::move(columns_))}; }

 private:
  const Signal signal_;
  const std::shared_ptr<arrow::Schema>& schema_;
  std::vector<ArrayDataPtr> columns_;
};

}  // namespace sheaf::decode
