/// Lets Arrow's IPC and Parquet readers and writers work on a File, so that they too go through the
/// one door to storage.

#pragma once

#include <memory>

#include <arrow/io/interfaces.h>

#include "io/file_system.h"

namespace sheaf::io {

/// Returns a stream that appends to `file` from `offset` on, gathering small writes into large ones.
/// Flush() and Close() hand everything to the file; neither syncs nor closes it: the caller does, and
/// only its Sync() makes the bytes durable. Destroying the stream without Close() drops what it still
/// gathers. Borrows `file`. Not thread-safe.
std::shared_ptr<arrow::io::OutputStream> MakeOutputStream(File* file, int64_t offset = 0);

/// Returns a reader of `file`, which must not change in length meanwhile. ReadAt() is thread-safe.
/// For reading without a copy, give Arrow a BufferReader over File::Map() instead.
Result<std::shared_ptr<arrow::io::RandomAccessFile>> MakeRandomAccessFile(std::shared_ptr<File> file);

}  // namespace sheaf::io
