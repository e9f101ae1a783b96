/// Single values to a column's type, without loss: defaults of columns.

#pragma once

#include <memory>

#include <arrow/scalar.h>
#include <arrow/type.h>

#include "core/status.h"

namespace sheaf::store {

/// `value` as one of `type`; null for null and for a NULL. Numbers become any type that holds them exactly, but that fractions
/// may be rounded to a float; text is read as people write values. Error: Invalid (it does not fit, or is of another sort).
Result<std::shared_ptr<arrow::Scalar>> CastScalar(const std::shared_ptr<arrow::Scalar>& value,
                                                  const std::shared_ptr<arrow::DataType>& type);

}  // namespace sheaf::store
