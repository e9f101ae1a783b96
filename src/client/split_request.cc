#include "client/split_request.h"

#include <span>

#include "decode/decoder.h"
#include "decode/encoder.h"
#include "wal/log.h"

namespace sheaf::client {
namespace {

Result<decode::DecodeResult> Decode(wire::OtlpRequest kind, std::string_view request, decode::Decoder* decoder) {
  const auto bytes = std::as_bytes(std::span(request));
  switch (kind) {
    case wire::OtlpRequest::kTraces: return decoder->Traces(bytes);
    case wire::OtlpRequest::kLogs: return decoder->Logs(bytes);
    case wire::OtlpRequest::kMetrics: break;
  }
  return decoder->Metrics(bytes);
}

}  // namespace

Result<SplitParts> SplitRequest(wire::OtlpRequest kind, std::string_view request) {
  decode::Decoder decoder;
  SHEAF_ASSIGN_OR_RETURN(const decode::DecodeResult decoded, Decode(kind, request, &decoder));
  if (decoded.accepted == 0 || decoded.accepted + decoded.rejected < 2) {
    return MakeError(ErrorKind::kInvalid, "a request of {} sound rows cannot be split", decoded.accepted);
  }
  SplitParts parts{.rejected = decoded.rejected, .reason = decoded.rejected_reason};
  const auto add = [&](decode::Signal signal, const arrow::RecordBatch& rows) {
    if (rows.num_rows() == 0) return Status::OK();
    RequestPiece& piece = parts.pieces.emplace_back();
    piece.rows = rows.num_rows();
    return decode::EncodeRequest(signal, rows, &piece.bytes, static_cast<size_t>(wal::kPayloadBytesMax));
  };
  // Metrics come as up to five tables: each is a piece, or two where there is no other.
  for (const decode::TableBatch& table : decoded.batches) {
    const int64_t half = decoded.batches.size() == 1 ? table.batch->num_rows() / 2 : table.batch->num_rows();
    SHEAF_RETURN_NOT_OK(add(table.signal, *table.batch->Slice(0, half)));
    SHEAF_RETURN_NOT_OK(add(table.signal, *table.batch->Slice(half)));
  }
  return parts;
}

}  // namespace sheaf::client
