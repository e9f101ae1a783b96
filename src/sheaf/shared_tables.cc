#include "sheaf/shared_tables.h"

#include <utility>

#include <arrow/io/memory.h>
#include <arrow/ipc/reader.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/compression.h>

#include "core/status.h"
#include "io/shared_buffers.h"

namespace sheaf {
namespace {

Result<arrow::ipc::IpcWriteOptions> WriteOptionsOf(SharedCodec codec) {
  auto options = arrow::ipc::IpcWriteOptions::Defaults();
  if (codec == SharedCodec::kNone) return options;
  const auto type = codec == SharedCodec::kLz4 ? arrow::Compression::LZ4_FRAME : arrow::Compression::ZSTD;
  SHEAF_ASSIGN_OR_RETURN(options.codec, arrow::util::Codec::Create(type));
  return options;
}

Status Write(arrow::RecordBatchReader& rows, const arrow::ipc::IpcWriteOptions& options, arrow::io::OutputStream* to) {
  SHEAF_ASSIGN_OR_RETURN(const auto writer, arrow::ipc::MakeStreamWriter(to, rows.schema(), options));
  while (true) {
    std::shared_ptr<arrow::RecordBatch> batch;
    SHEAF_RETURN_NOT_OK(rows.ReadNext(&batch));
    if (batch == nullptr) return writer->Close();
    SHEAF_RETURN_NOT_OK(writer->WriteRecordBatch(*batch));
  }
}

/// The columns lie in `buffer` and hold it.
Result<std::shared_ptr<arrow::Table>> TableIn(const std::shared_ptr<arrow::Buffer>& buffer, const std::string& name) {
  const auto read = [&]() -> Result<std::shared_ptr<arrow::Table>> {
    SHEAF_ASSIGN_OR_RETURN(const auto stream, arrow::ipc::RecordBatchStreamReader::Open(std::make_shared<arrow::io::BufferReader>(buffer)));
    SHEAF_ASSIGN_OR_RETURN(const auto table, stream->ToTable());
    SHEAF_RETURN_NOT_OK(table->Validate());
    return table;
  };
  const auto table = read();
  if (!table.ok()) {
    return MakeError(ErrorKind::kCorruption, "shared table {}: this is no Arrow stream: {}", name, table.status().message());
  }
  // Columns of no rows, or decompressed ones, lie elsewhere: the table holds the buffer, too.
  struct Held {
    std::shared_ptr<arrow::Buffer> buffer;
    std::shared_ptr<arrow::Table> table;
  };
  const auto held = std::make_shared<Held>(Held{buffer, *table});
  return std::shared_ptr<arrow::Table>(held, held->table.get());
}

}  // namespace

class SharedTables::Buffers {
 public:
  explicit Buffers(std::shared_ptr<io::SharedBuffers> all) : all(std::move(all)) {}
  const std::shared_ptr<io::SharedBuffers> all;
};

SharedTables::SharedTables(std::unique_ptr<Buffers> buffers) : buffers_(std::move(buffers)) {}
SharedTables::~SharedTables() = default;

arrow::Result<std::shared_ptr<SharedTables>> SharedTables::Open(const SharedTablesOptions& options) {
  SHEAF_ASSIGN_OR_RETURN(auto buffers, io::SharedBuffers::Open({options.folder, options.bytes_max}));
  return std::shared_ptr<SharedTables>(new SharedTables(std::make_unique<Buffers>(std::move(buffers))));
}

arrow::Result<std::shared_ptr<arrow::Table>> SharedTables::Publish(const std::string& name, arrow::RecordBatchReader& rows,
                                                                   const PublishOptions& options) {
  SHEAF_ASSIGN_OR_RETURN(const auto write, WriteOptionsOf(options.codec));
  SHEAF_ASSIGN_OR_RETURN(auto fresh, buffers_->all->Create());
  SHEAF_RETURN_NOT_OK(Write(rows, write, fresh->stream()));
  const auto taken = options.replace ? io::NameTaken::kReplace : io::NameTaken::kRefuse;
  SHEAF_ASSIGN_OR_RETURN(const auto buffer, buffers_->all->Publish(std::move(fresh), name, taken));
  return TableIn(buffer, name);
}

arrow::Result<std::shared_ptr<arrow::Table>> SharedTables::Get(const std::string& name) const {
  SHEAF_ASSIGN_OR_RETURN(const auto buffer, buffers_->all->Get(name));
  return TableIn(buffer, name);
}

arrow::Status SharedTables::Remove(const std::string& name) { return buffers_->all->Remove(name); }

arrow::Result<std::vector<SharedTableInfo>> SharedTables::List() const {
  SHEAF_ASSIGN_OR_RETURN(const auto all, buffers_->all->List());
  std::vector<SharedTableInfo> tables;
  for (const auto& buffer : all) tables.push_back({buffer.name, buffer.bytes, buffer.holders});
  return tables;
}

arrow::Result<int64_t> SharedTables::RemoveUnused() { return buffers_->all->RemoveUnused(); }

}  // namespace sheaf
