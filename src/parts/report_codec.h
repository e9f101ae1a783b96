/// Reports of a part's columns (columns/column_report.h) as the bytes of a section of its index. Format: docs/formats/part.md,
/// "Index: reports of columns".

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "columns/column_report.h"
#include "core/status.h"

namespace sheaf::parts {

std::string EncodeReports(const std::vector<columns::ColumnReport>& reports);

/// `columns`: how many the part has. Error: Corruption (they make no sense). A later version's is read as far as it is known.
Result<std::vector<columns::ColumnReport>> DecodeReports(std::string_view bytes, int columns);

}  // namespace sheaf::parts
