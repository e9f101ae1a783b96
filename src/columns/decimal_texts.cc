#include "columns/decimal_texts.h"

#include <string_view>

namespace sheaf::columns {
namespace {

constexpr size_t kShownBytes = 60;

bool HasTooManyDigits(std::string_view text) {
  if (text.size() <= static_cast<size_t>(kDecimalTextDigitsMax)) return false;
  int digits = 0;
  for (const char c : text) {
    if (c == 'e' || c == 'E') break;
    if (c >= '0' && c <= '9' && (digits > 0 || c != '0')) ++digits;
  }
  return digits > kDecimalTextDigitsMax;
}

template <typename Texts>
Status Check(const Texts& texts) {
  for (int64_t i = 0; i < texts.length(); ++i) {
    if (texts.IsNull(i)) continue;
    const std::string_view text = texts.GetView(i);
    if (!HasTooManyDigits(text)) continue;
    return MakeError(ErrorKind::kInvalid, "{}{} has more than {} digits", text.substr(0, kShownBytes), text.size() > kShownBytes ? "…" : "",
                     kDecimalTextDigitsMax);
  }
  return Status::OK();
}

}  // namespace

Status CheckDecimalTexts(const arrow::Array& texts) {
  switch (texts.type_id()) {
    case arrow::Type::STRING: return Check(static_cast<const arrow::StringArray&>(texts));
    case arrow::Type::LARGE_STRING: return Check(static_cast<const arrow::LargeStringArray&>(texts));
    default: return MakeError(ErrorKind::kInternal, "{} holds no texts", texts.type()->ToString());
  }
}

}  // namespace sheaf::columns
