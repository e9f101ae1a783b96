/// Reads files of OTLP export requests.

#pragma once

#include <functional>
#include <string>

#include "core/status.h"
#include "wire/otlp_json.h"

namespace sheaf::cli {

/// Calls `take` with each request of `path`, as protobuf. `table` says which signal it is ("traces",
/// "otel.logs", "metrics_gauge"…); empty: told by the JSON. Errors: Invalid (what cannot be read, and
/// where), Unsupported (formats that come with tables), Io, NotFound, or what `take` returned.
Status ReadOtlpFile(const std::string& path, const std::string& table,
                    const std::function<Status(wire::OtlpRequest kind, const std::string& request)>& take);

}  // namespace sheaf::cli
