/// The Arrow IPC stream of one OTel-Arrow payload type, written with random layouts: which columns, dictionaries or not, their
/// order, deltas, replacements, compression, and new schemas now and then.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <arrow/type.h>

#include "property/random_otlp.h"

namespace sheaf::property {

/// A column before its layout is chosen. Cells are raw bytes: little-endian numbers, text, bytes; of a list, the items one after
/// the other.
struct OtapCells {
  std::string path;                       // "resource.id"
  std::shared_ptr<arrow::DataType> type;  // Of a value.
  bool null_is_default = true;            // A default may be sent as NULL.
  bool may_be_dictionary = true;
  std::string encoding = {};  // The field's metadata, for ids.
  std::vector<std::optional<std::string>> cells = {};
};

/// As a sender keeps it. Not thread-safe.
class OtapPayloadStream {
 public:
  /// Borrows `random`.
  explicit OtapPayloadStream(Random* random);
  ~OtapPayloadStream();

  /// The record of the next payload, of all columns' rows; begins anew, under another schema id, where they do not fit any more,
  /// or at random.
  std::string Write(std::vector<OtapCells> columns);
  /// Of the last record.
  const std::string& schema_id() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sheaf::property
