/// The writers behind formats.h, one file each.

#pragma once

#include <memory>

#include "query/formats.h"

namespace sheaf::query {

using MadeWriter = Result<std::unique_ptr<ResultWriter>>;

MadeWriter MakeJsonWriter(std::shared_ptr<arrow::Schema> schema, Sink sink);
MadeWriter MakeNdjsonWriter(std::shared_ptr<arrow::Schema> schema, Sink sink);
MadeWriter MakeCsvWriter(std::shared_ptr<arrow::Schema> schema, Sink sink);
MadeWriter MakeArrowWriter(std::shared_ptr<arrow::Schema> schema, Sink sink);
MadeWriter MakeParquetWriter(std::shared_ptr<arrow::Schema> schema, Sink sink);
MadeWriter MakeTableWriter(std::shared_ptr<arrow::Schema> schema, Sink sink);

}  // namespace sheaf::query
