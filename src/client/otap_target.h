/// A server of OTel-Arrow as the target of an exporter: requests are decoded to rows, and these sent as batches of one gRPC stream
/// a signal, each with its status. docs/otel-arrow.md says how rows are written.

#pragma once

#include <memory>

#include "client/export_target.h"
#include "client/url.h"
#include "core/status.h"

namespace sheaf::client {

/// Opens the target; connects with the first request. Compression: any but kIdentity is Zstd inside the batches, since every reader
/// of Arrow has that. Errors: Io (certificates).
///
/// What is particular about its answers: kTooLarge for more than rows_max() rows; kLater where the server has no OTel-Arrow, since
/// that says nothing about the rows; kLost for all batches of a stream that broke.
Result<std::unique_ptr<ExportTarget>> MakeOtapTarget(const Url& url, const ExportTargetOptions& options);

}  // namespace sheaf::client
