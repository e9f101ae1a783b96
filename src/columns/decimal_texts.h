/// Decimal numbers as texts: what Arrow's cast to decimal128 does not refuse.

#pragma once

#include <arrow/array.h>

#include "core/status.h"

namespace sheaf::columns {

/// Most digits, from the first that is not 0 on, that a text may have before it is cast to a decimal128. Arrow (as of 26.0) adds up
/// more without a word, and what is left of the sum modulo 2^128 may look like a value.
inline constexpr int kDecimalTextDigitsMax = 38;

/// Invalid where a text among `texts` (utf8 or large_utf8) has more; names it. Others are the cast's to judge.
Status CheckDecimalTexts(const arrow::Array& texts);

}  // namespace sheaf::columns
