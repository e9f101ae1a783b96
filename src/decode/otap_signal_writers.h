/// The three signals on their way out: record batches of ready tables to the tables of an OTel-Arrow batch.

#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <vector>

#include "decode/otap_attribute_writer.h"
#include "decode/otap_encoder.h"
#include "decode/otap_envelope_writer.h"
#include "decode/otap_source.h"

namespace sheaf::decode {

/// What filling the tables of a batch needs, whatever its signal.
struct OtapWriteContext {
  RequestMemory* memory;
  int64_t dictionary_bytes_max;  // Of one column.
  bool metric_metadata;
};

/// Fills the tables of one stream's batches. Not thread-safe.
class OtapSignalWriter {
 public:
  virtual ~OtapSignalWriter() = default;

  /// Fills the tables from all rows of `batches`, of which there is at least one. Tables without rows are left out. Errors:
  /// Invalid (what no decoder writes), Corruption (an envelope is not OTLP); throws what buffers throw.
  virtual Status Fill(std::span<const TableBatch> batches, const OtapWriteContext& context) = 0;

  /// All tables there can be, the root first.
  std::span<OtapTableWriter* const> tables() const { return tables_; }
  /// Of the batch that was filled last.
  int64_t CountInexact(std::span<const TableBatch> batches) const { return envelopes_.CountInexact(batches); }
  /// Beside what is charged to the memory.
  int64_t held_bytes() const;
  void Trim();

 protected:
  OtapSignalWriter() = default;
  /// Called by a constructor, once.
  void Own(std::initializer_list<OtapTableWriter*> tables) { tables_.insert(tables_.end(), tables); }
  void Own(std::initializer_list<OtapAttributeWriter*> attributes) {
    for (OtapAttributeWriter* writer : attributes) {
      attributes_.push_back(writer);
      tables_.push_back(&writer->table());
    }
  }
  void OwnEnvelopes() { Own({&envelopes_.resource_attributes(), &envelopes_.scope_attributes()}); }

  OtapEnvelopeWriter envelopes_;

 private:
  std::vector<OtapTableWriter*> tables_;
  std::vector<OtapAttributeWriter*> attributes_;
};

std::unique_ptr<OtapSignalWriter> MakeOtapSpanWriter();
std::unique_ptr<OtapSignalWriter> MakeOtapLogWriter();
std::unique_ptr<OtapSignalWriter> MakeOtapMetricWriter();

/// Events, links and exemplars: which items of which lists, and whose they are. Not thread-safe.
struct OtapChildren {
  OtapRuns rows;
  std::vector<uint32_t> parents;

  void Clear() {
    rows.Clear();
    parents.clear();
  }
  void Add(int32_t source, const ListView& list, int64_t row, uint32_t parent) {
    const int64_t begin = list.begin(row), n = list.end(row) - begin;
    rows.Add(source, begin, n);
    parents.insert(parents.end(), static_cast<size_t>(n), parent);
  }
  /// Puts parents as differences where same(row) tells that a row equals the one before it.
  template <typename T, typename Same>
  void FillParents(OtapOutColumn* column, Same&& same) const {
    T* out = column->Values<T>();
    for (size_t i = 0; i < parents.size(); ++i) {
      const bool is_same = same(static_cast<int64_t>(i));
      out[i] = static_cast<T>(parents[i] - (is_same && i > 0 ? parents[i - 1] : 0));
    }
  }
};

/// Gives ids 0, 1, … to rows that others refer to: those with attributes, which are added, and those for which also(source, row,
/// id) is true. Others have none. Ids are written as differences. Errors: as OtapAttributeWriter::Add.
template <typename T, typename Also>
Status FillIds(const OtapArrays& attributes, const OtapRuns& rows, OtapAttributeWriter* writer, OtapOutColumn* column,
               Also&& also) {
  T* ids = column->Values<T>(true);
  uint8_t* present = column->Presence();
  uint32_t next = 0;
  for (const OtapRun& run : rows.runs()) {
    const AttributesView view(*attributes[static_cast<size_t>(run.source)]);
    for (int64_t row = run.begin; row < run.begin + run.n; ++row, ++ids, ++present) {
      const int64_t begin = view.begin(row), end = view.end(row);
      if (!also(run.source, row, next) && begin == end) continue;
      *present = 1;
      *ids = next > 0;
      const Status status = writer->Add(next++, run.source, view, begin, end);
      if (!status.ok()) return WithContext(status, fmt::format("{}, row {}", wire::OtapPayloadName(writer->table().type()), row));
    }
  }
  return Status::OK();
}

}  // namespace sheaf::decode
