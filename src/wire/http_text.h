/// The small text encodings that HTTP and gRPC headers need.

#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace sheaf::wire {

/// Decodes %XX in a request path. Nothing where a % is not followed by two hex digits, or a byte 0 comes out.
std::optional<std::string> PercentDecode(std::string_view text);

/// Encodes grpc-message: all but printable ASCII, and '%', as %XX.
std::string PercentEncodeGrpcMessage(std::string_view text);

/// Parses grpc-timeout: 1 to 8 digits and a unit of H M S m u n. At most a year comes out.
std::optional<std::chrono::nanoseconds> ParseGrpcTimeout(std::string_view text);

/// Whether `content_type` says gRPC: "application/grpc", also with "+proto" or parameters.
bool IsGrpcContentType(std::string_view content_type);

std::string LowerCase(std::string_view text);
bool EqualsIgnoringCase(std::string_view a, std::string_view b);

}  // namespace sheaf::wire
