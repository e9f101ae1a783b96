/// What the parts of a decoder share while they decode one request, or several into one batch.
///
/// A request is decoded in one of two ways. The plain pass takes text as it comes, checks it in bulk
/// (distinct dictionary values as they are added, column heaps at the end) and does no more than the
/// usual needs. Where it meets text that is not UTF-8, or a message that must be merged from several
/// pieces, it sets `suspect` and the request is decoded again in the careful pass, which checks and
/// repairs each text by itself and marks the records concerned as odd. So the common path stays short,
/// and a hostile request costs at most twice.

#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>

#include "core/status.h"
#include "decode/decoder.h"
#include "decode/request_memory.h"
#include "decode/utf8.h"

namespace sheaf::decode {

/// Not thread-safe. Views that Text(), Repaired() and Join() return live until Start().
class RequestContext {
 public:
  /// Borrows `memory`, which is charged with the texts kept here.
  RequestContext(Limits limits, RequestMemory* memory) : limits(limits), memory(memory) {}

  /// Begins a pass.
  void Start(bool careful_pass) {
    careful = careful_pass;
    suspect = odd = false;
    error = Status::OK();
    Forget();
  }
  /// What follows is of `request`.
  void Enter(std::string_view request) {
    request_ = request;
    readable_end = careful ? 0 : reinterpret_cast<uintptr_t>(request.data()) + request.size();
    records = rejected = 0;
    rejected_reason.clear();
  }
  /// Gives back the texts that were kept.
  void Forget() {
    for (std::string& text : kept_) memory->Forget(&text);
    memory->Release(static_cast<int64_t>(kept_.size()) * kTextBytes);
    kept_.clear();
  }

  /// Text for a column: `raw`, or in the careful pass its repaired form (the record is then odd).
  std::string_view Text(std::string_view raw) {
    if (!careful || IsUtf8(raw)) [[likely]] return raw;
    odd = true;
    return Repaired(raw);
  }
  /// `raw` as UTF-8, kept.
  std::string_view Repaired(std::string_view raw) {
    std::string* text = Keep(kRepairedBytesMax * raw.size());
    RepairUtf8(raw, text);
    return *text;
  }
  /// `whole` followed by `piece`. Appends in place where `whole` is what was joined or kept last, so that
  /// many small pieces do not take quadratic time.
  std::string_view Join(std::string_view whole, std::string_view piece) {
    if (kept_.empty() || kept_.back().data() != whole.data()) *Keep(whole.size()) = whole;
    memory->Reserve(&kept_.back(), piece.size());
    return kept_.back() += piece;
  }

  /// Fails the request: `at` is where it stops making sense. Returns false.
  bool Malformed(const char* at, const char* what) {
    const auto offset = reinterpret_cast<uintptr_t>(at) - reinterpret_cast<uintptr_t>(request_.data());
    if (offset <= request_.size()) {
      error = MakeError(ErrorKind::kInvalid, "malformed OTLP protobuf at byte {}: {}", offset, what);
    } else {  // In a message joined from several pieces.
      error = MakeError(ErrorKind::kInvalid, "malformed OTLP protobuf: {} sent in pieces", what);
    }
    return false;
  }
  bool TooLarge(std::string message) {
    error = MakeStatus(ErrorKind::kTooLarge, std::move(message));
    return false;
  }
  /// Counts one more record against the limit.
  bool CountRecord() {
    if (++records > limits.records_max) [[unlikely]] {
      return TooLarge(fmt::format("request holds more than {} records; send fewer at once", limits.records_max));
    }
    return true;
  }
  /// Checks the record's number of attributes, those of its events, links or exemplars included.
  bool CheckAttributes(int64_t n) {
    if (n > limits.attributes_per_record_max) [[unlikely]] {
      return TooLarge(fmt::format("a record holds {} attributes; at most {} are taken", n, limits.attributes_per_record_max));
    }
    return true;
  }
  void Reject(const char* why) {
    if (rejected++ == 0) rejected_reason = why;
  }

  const Limits limits;
  RequestMemory* const memory;  // Borrowed.
  bool careful = false;
  uintptr_t readable_end = 0;  // How far column copies may read; 0 in the careful pass.
  bool suspect = false;        // Set in the plain pass: decode again, carefully.
  bool odd = false;            // The current record says something that its columns cannot: keep `original`.
  int64_t records = 0, rejected = 0;
  std::string rejected_reason;
  Status error;

 private:
  static constexpr int64_t kTextBytes = sizeof(std::string);
  static constexpr size_t kRepairedBytesMax = 3;  // Of a byte that is no character.

  /// An empty text with room for `bytes`.
  std::string* Keep(size_t bytes) {
    memory->Charge(kTextBytes);
    kept_.emplace_back();
    memory->Reserve(&kept_.back(), bytes);
    return &kept_.back();
  }

  std::string_view request_;
  std::deque<std::string> kept_;
};

}  // namespace sheaf::decode
