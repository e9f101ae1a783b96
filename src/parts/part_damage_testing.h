/// Parts whose files are damaged and then read: what the fuzz targets of hot and cold parts have in common.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <arrow/type.h>

#include "parts/part.h"
#include "parts/part_index.h"

namespace sheaf::parts {

/// The positions of all columns, in order.
std::vector<int> AllColumns(const arrow::Schema& schema);

/// What a mapped index holds, ready to be encoded again.
IndexContents ContentsOf(const PartIndex& index);

/// Reads a part of this format damaged as `input` says; aborts where a promise does not hold. The first byte picks one of two:
/// 0: the rest are edits (DamagedBy()) of the files of a part with several blocks and granules: what is read is an error or the right
///    rows;
/// 1: the rest is the data file of a small part with columns of every type, and the index's checksums are made to fit, as those of a
///    file from a stranger would: reading ends with an error or with rows, of which `cold` parts promise that they are valid Arrow.
void FuzzPart(Format format, std::span<const uint8_t> input);

/// Inputs for the second kind and the first, to begin with.
std::string SeedOfDataFile(Format format);
std::string SeedOfEdits();

}  // namespace sheaf::parts
