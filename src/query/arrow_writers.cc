#include <string_view>

#include <arrow/io/interfaces.h>
#include <arrow/ipc/writer.h>
#include <parquet/arrow/writer.h>
#include <parquet/properties.h>

#include "core/memory.h"

#include "query/format_writers.h"

namespace sheaf::query {

namespace {

constexpr int64_t kParquetRowGroupRows = 128 << 10;

/// Hands Arrow's writers our sink.
class SinkStream : public arrow::io::OutputStream {
 public:
  explicit SinkStream(Sink sink) : sink_(std::move(sink)) { set_mode(arrow::io::FileMode::WRITE); }
  ~SinkStream() override = default;

  Status Close() override {
    closed_ = true;
    return Status::OK();
  }
  bool closed() const override { return closed_; }
  Result<int64_t> Tell() const override { return position_; }
  Status Write(const void* data, int64_t bytes) override {
    position_ += bytes;
    return sink_(std::string_view(static_cast<const char*>(data), static_cast<size_t>(bytes)));
  }
  using arrow::io::OutputStream::Write;

 private:
  const Sink sink_;
  int64_t position_ = 0;
  bool closed_ = false;
};

class ArrowWriter : public ResultWriter {
 public:
  static MadeWriter Make(const std::shared_ptr<arrow::Schema>& schema, Sink sink) {
    auto writer = std::make_unique<ArrowWriter>();
    writer->stream_ = std::make_shared<SinkStream>(std::move(sink));
    SHEAF_ASSIGN_OR_RETURN(writer->writer_, arrow::ipc::MakeStreamWriter(writer->stream_, schema));
    return writer;
  }
  Status Write(const arrow::RecordBatch& batch) override { return writer_->WriteRecordBatch(batch); }
  Status Finish() override { return writer_->Close(); }

 private:
  std::shared_ptr<SinkStream> stream_;
  std::shared_ptr<arrow::ipc::RecordBatchWriter> writer_;
};

class ParquetWriter : public ResultWriter {
 public:
  static MadeWriter Make(const std::shared_ptr<arrow::Schema>& schema, Sink sink) {
    auto writer = std::make_unique<ParquetWriter>();
    writer->stream_ = std::make_shared<SinkStream>(std::move(sink));
    const auto properties = parquet::WriterProperties::Builder()
                                .compression(parquet::Compression::ZSTD)
                                ->max_row_group_length(kParquetRowGroupRows)
                                ->enable_page_checksum()
                                ->build();
    const auto arrow_properties = parquet::ArrowWriterProperties::Builder().store_schema()->build();
    SHEAF_ASSIGN_OR_RETURN(writer->writer_, parquet::arrow::FileWriter::Open(*schema, &NamedPool("results"), writer->stream_,
                                                                            properties, arrow_properties));
    return writer;
  }
  Status Write(const arrow::RecordBatch& batch) override { return writer_->WriteRecordBatch(batch); }
  Status Finish() override { return writer_->Close(); }

 private:
  std::shared_ptr<SinkStream> stream_;
  std::unique_ptr<parquet::arrow::FileWriter> writer_;
};

}  // namespace

MadeWriter MakeArrowWriter(std::shared_ptr<arrow::Schema> schema, Sink sink) { return ArrowWriter::Make(schema, std::move(sink)); }
MadeWriter MakeParquetWriter(std::shared_ptr<arrow::Schema> schema, Sink sink) { return ParquetWriter::Make(schema, std::move(sink)); }

}  // namespace sheaf::query
