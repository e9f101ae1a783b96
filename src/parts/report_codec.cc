#include "parts/report_codec.h"

#include <algorithm>
#include <utility>

#include "parts/byte_codec.h"

namespace sheaf::parts {
namespace {

using columns::ColumnAnalysis;
using columns::ColumnReport;
using columns::Encoding;
using columns::EncodingReason;

enum ReportFlag : uint8_t { kCardinalityIsExact = 1 };

constexpr uint32_t kReportBytesMin = 4 + 4 + 12 * 8 + 4;  // Of an entry, whose path may be empty.

/// The numbers of an analysis in their order in the file; those of a later version come behind them.
constexpr int64_t ColumnAnalysis::* const kNumbers[] = {
    &ColumnAnalysis::values,        &ColumnAnalysis::nulls,       &ColumnAnalysis::looked_at,   &ColumnAnalysis::runs,
    &ColumnAnalysis::longest_run,   &ColumnAnalysis::cardinality, &ColumnAnalysis::plain_bytes, &ColumnAnalysis::dictionary_bytes,
    &ColumnAnalysis::run_end_bytes, &ColumnAnalysis::delta_bytes, &ColumnAnalysis::frame_bytes,
};

}  // namespace

std::string EncodeReports(const std::vector<ColumnReport>& reports) {
  std::string bytes;
  ByteWriter out(&bytes);
  out.Number(static_cast<uint32_t>(reports.size()));
  for (const ColumnReport& report : reports) {
    const ColumnAnalysis& analysis = report.analysis;
    out.Number(static_cast<int32_t>(report.column));
    out.Number(static_cast<uint8_t>(report.stored.encoding));
    out.Number(static_cast<uint8_t>(report.stored.reason));
    out.Number(static_cast<uint8_t>(analysis.cardinality_is_exact ? kCardinalityIsExact : 0));
    out.Number(uint8_t{0});
    for (const auto number : kNumbers) out.Number(analysis.*number);
    out.Number(report.stored_bytes);
    out.Text(report.path);
  }
  return bytes;
}

Result<std::vector<ColumnReport>> DecodeReports(std::string_view bytes, int columns) {
  ByteReader in(bytes);
  const auto count = in.Number<uint32_t>();
  if (!in.ok() || count > in.left() / kReportBytesMin)
    return MakeError(ErrorKind::kCorruption, "there are too many reports of columns");
  std::vector<ColumnReport> out(count);
  for (ColumnReport& report : out) {
    report.column = in.Number<int32_t>();
    const auto encoding = in.Number<uint8_t>(), reason = in.Number<uint8_t>(), flags = in.Number<uint8_t>();
    in.Number<uint8_t>();
    for (const auto number : kNumbers) report.analysis.*number = std::max<int64_t>(in.Number<int64_t>(), -1);
    report.stored_bytes = std::max<int64_t>(in.Number<int64_t>(), -1);
    report.path = in.Text();
    if (!in.ok() || report.column < 0 || report.column >= columns) {
      return MakeError(ErrorKind::kCorruption, "the report of column '{}' makes no sense", report.path);
    }
    report.analysis.cardinality_is_exact = (flags & kCardinalityIsExact) != 0;
    // Those of a later version have no name here.
    if (encoding <= static_cast<uint8_t>(Encoding::kDictionaryThenPlain))
      report.stored.encoding = static_cast<Encoding>(encoding);
    if (reason <= static_cast<uint8_t>(EncodingReason::kRepeatsNearby))
      report.stored.reason = static_cast<EncodingReason>(reason);
  }
  return out;
}

}  // namespace sheaf::parts
