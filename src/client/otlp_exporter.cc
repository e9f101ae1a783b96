#include "client/otlp_exporter.h"

#include <arrow/util/compression.h>
#include <protozero/exception.hpp>
#include <protozero/pbf_reader.hpp>

namespace sheaf::client {
namespace {

const char* Path(OtlpSignal signal) {
  switch (signal) {
    case OtlpSignal::kTraces: return "/v1/traces";
    case OtlpSignal::kLogs: return "/v1/logs";
    case OtlpSignal::kMetrics: return "/v1/metrics";
  }
  return "";
}

Result<std::string> Gzip(std::string_view bytes) {
  SHEAF_ASSIGN_OR_RETURN(auto codec, arrow::util::Codec::Create(arrow::Compression::GZIP, 1));
  const auto* input = reinterpret_cast<const uint8_t*>(bytes.data());
  std::string out(static_cast<size_t>(codec->MaxCompressedLen(static_cast<int64_t>(bytes.size()), input)), '\0');
  SHEAF_ASSIGN_OR_RETURN(const int64_t size,
                         codec->Compress(static_cast<int64_t>(bytes.size()), input, static_cast<int64_t>(out.size()),
                                         reinterpret_cast<uint8_t*>(out.data())));
  out.resize(static_cast<size_t>(size));
  return out;
}

/// Reads Export…ServiceResponse: partial_success (1) { rejected (1), error_message (2) }.
Result<ExportResult> ParseResponse(std::string_view body) {
  ExportResult result;
  try {
    protozero::pbf_reader response(body.data(), body.size());
    while (response.next(1, protozero::pbf_wire_type::length_delimited)) {
      protozero::pbf_reader partial = response.get_message();
      while (partial.next()) {
        if (partial.tag_and_type() == protozero::tag_and_type(1, protozero::pbf_wire_type::varint)) {
          result.rejected = partial.get_int64();
        } else if (partial.tag_and_type() == protozero::tag_and_type(2, protozero::pbf_wire_type::length_delimited)) {
          result.message = partial.get_string();
        } else {
          partial.skip();
        }
      }
    }
  } catch (const protozero::exception& error) {
    return MakeError(ErrorKind::kInvalid, "the server's answer is no OTLP response: {}", error.what());
  }
  return result;
}

/// The text of a google.rpc.Status, or the body where it is text.
std::string ErrorText(const HttpResponse& response) {
  if (response.header("content-type").find("protobuf") == std::string_view::npos) return response.body.substr(0, 2'000);
  try {
    protozero::pbf_reader status(response.body);
    while (status.next(2, protozero::pbf_wire_type::length_delimited)) return status.get_string();
  } catch (const protozero::exception&) {
    return "unreadable error body";
  }
  return {};
}

}  // namespace

Status ErrorOfResponse(const HttpResponse& response) {
  const auto kind = [&] {
    switch (response.status) {
      case 401:
      case 403: return ErrorKind::kDenied;
      case 404: return ErrorKind::kNotFound;
      case 408: return ErrorKind::kTimeout;
      case 413: return ErrorKind::kTooLarge;
      case 429: return ErrorKind::kThrottled;
      case 501: return ErrorKind::kUnsupported;
      default: return response.status >= 500 ? ErrorKind::kUnavailable : ErrorKind::kInvalid;
    }
  }();
  return MakeError(kind, "the server answered {}: {}", response.status, ErrorText(response));
}

Result<ExportResult> OtlpExporter::Export(OtlpSignal signal, std::string_view request) {
  HttpRequest http;
  http.target = Path(signal);
  http.headers = {{"content-type", "application/x-protobuf"}, {"content-encoding", "gzip"}};
  http.repeatable = true;
  SHEAF_ASSIGN_OR_RETURN(http.body, Gzip(request));
  sent_bytes_ += static_cast<int64_t>(http.body.size());
  SHEAF_ASSIGN_OR_RETURN(const HttpResponse response, client_->Send(http));
  if (response.status / 100 != 2) return ErrorOfResponse(response);
  return ParseResponse(response.body);
}

}  // namespace sheaf::client
