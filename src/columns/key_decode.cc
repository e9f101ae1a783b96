// Encoded keys back to values.

#include <cstring>
#include <limits>
#include <utility>

#include <arrow/array/array_base.h>
#include <arrow/array/data.h>
#include <arrow/array/util.h>
#include <arrow/buffer.h>
#include <arrow/scalar.h>
#include <arrow/type_traits.h>
#include <arrow/util/bit_util.h>
#include <arrow/util/utf8.h>

#include "columns/key_codec.h"
#include "core/check.h"
#include "core/hex.h"

namespace sheaf::columns {
namespace {

Status NoKey(const char* why, std::string_view key) {
  return MakeError(ErrorKind::kCorruption, "not a key of this table ({}): {}", why, ToHex(key));
}

}  // namespace

/// Takes a key column's values out of keys, one key after the other.
class KeyCodec::Reader {
 public:
  Reader(const Part& part, const std::shared_ptr<arrow::DataType>& type, int64_t keys)
      : part_(part), type_(type), utf8_(arrow::is_string(type->id())), large_(arrow::is_large_binary_like(type->id())) {
    if (part_.width > 0) bytes_.reserve(static_cast<size_t>(keys) * part_.width);
    if (part_.width == 0) AddEnd();
  }

  /// Takes the value in front of `*rest`, which is what is left of `key`.
  Status Take(std::string_view key, std::string_view* rest) {
    if (part_.kind == Part::Kind::kText) return TakeText(key, rest);
    if (rest->size() < part_.width) return NoKey("too short", key);
    const std::string_view value = rest->substr(0, part_.width);
    rest->remove_prefix(part_.width);
    if (part_.boolean && static_cast<uint8_t>(value[0]) > 1) return NoKey("neither true nor false", key);
    if (part_.kind == Part::Kind::kBytes) {
      bytes_.append(value);
      return Status::OK();
    }
    const size_t before = bytes_.size();
    bytes_.append(value.rbegin(), value.rend());
    if (part_.kind == Part::Kind::kSigned) bytes_.back() = static_cast<char>(bytes_.back() ^ 0x80);
    SHEAF_CHECK(bytes_.size() == before + part_.width);
    return Status::OK();
  }

  std::shared_ptr<arrow::ArrayData> Finish(int64_t keys) {
    if (part_.boolean) {
      std::string bits(static_cast<size_t>(arrow::bit_util::BytesForBits(keys)), '\0');
      for (int64_t i = 0; i < keys; ++i) {
        if (bytes_[static_cast<size_t>(i)] != 0) arrow::bit_util::SetBit(reinterpret_cast<uint8_t*>(bits.data()), i);
      }
      bytes_ = std::move(bits);
    }
    auto bytes = arrow::Buffer::FromString(std::move(bytes_));
    if (part_.width > 0) return arrow::ArrayData::Make(type_, keys, {nullptr, std::move(bytes)}, 0);
    return arrow::ArrayData::Make(type_, keys, {nullptr, arrow::Buffer::FromString(std::move(ends_)), std::move(bytes)}, 0);
  }

 private:
  Status TakeText(std::string_view key, std::string_view* rest) {
    const size_t before = bytes_.size();
    if (part_.last) {
      bytes_.append(*rest);
      *rest = {};
    } else {
      while (true) {
        const size_t zero = rest->find('\0');
        if (zero == std::string_view::npos || zero + 1 == rest->size()) return NoKey("text without an end", key);
        bytes_.append(rest->substr(0, zero));
        const char next = (*rest)[zero + 1];
        rest->remove_prefix(zero + 2);
        if (next == '\0') break;
        if (next != '\xFF') return NoKey("a zero byte that stands for nothing", key);
        bytes_.push_back('\0');
      }
    }
    if (utf8_ && !arrow::util::ValidateUTF8(std::string_view(bytes_).substr(before))) return NoKey("not UTF-8", key);
    if (!large_ && bytes_.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
      return MakeError(ErrorKind::kTooLarge, "the text of the keys takes over 2 GiB: take fewer at once");
    }
    AddEnd();
    return Status::OK();
  }
  void AddEnd() {
    const auto end = static_cast<int64_t>(bytes_.size());
    ends_.append(reinterpret_cast<const char*>(&end), large_ ? sizeof(int64_t) : sizeof(int32_t));  // Little-endian.
  }

  const Part part_;
  const std::shared_ptr<arrow::DataType> type_;
  const bool utf8_, large_;
  std::string bytes_, ends_;
};

Result<std::shared_ptr<arrow::RecordBatch>> KeyCodec::DecodeKeys(const KeyColumn& keys) const {
  std::vector<Reader> readers;
  for (size_t p = 0; p < parts_.size(); ++p)
    readers.emplace_back(parts_[p], key_schema_->field(static_cast<int>(p))->type(), keys.size());
  for (int64_t i = 0; i < keys.size(); ++i) {
    const std::string_view key = keys[i];
    if (key.size() > kKeyBytesMax) return NoKey("too long", key);
    std::string_view rest = key;
    for (Reader& reader : readers) SHEAF_RETURN_NOT_OK(reader.Take(key, &rest));
    if (!rest.empty()) return NoKey("too long", key);
  }
  std::vector<std::shared_ptr<arrow::ArrayData>> columns;
  for (Reader& reader : readers) columns.push_back(reader.Finish(keys.size()));
  return arrow::RecordBatch::Make(key_schema_, keys.size(), std::move(columns));
}

Result<std::vector<std::shared_ptr<arrow::Scalar>>> KeyCodec::Decode(std::string_view key) const {
  KeyColumn one;
  one.Add(key);
  SHEAF_ASSIGN_OR_RETURN(const auto batch, DecodeKeys(one));
  std::vector<std::shared_ptr<arrow::Scalar>> values;
  for (const auto& column : batch->columns()) {
    SHEAF_ASSIGN_OR_RETURN(auto value, column->GetScalar(0));
    values.push_back(std::move(value));
  }
  return values;
}

std::string KeyCodec::ToText(std::string_view key) const {
  const auto values = Decode(key);
  if (!values.ok()) return "0x" + ToHex(key);
  std::string out;
  for (const auto& value : *values) {
    if (!out.empty()) out += ", ";
    const arrow::Type::type id = value->type->id();
    if (arrow::is_string(id)) {
      out += '\'';
      for (const char c : static_cast<const arrow::BaseBinaryScalar&>(*value).view()) out.append(c == '\'' ? 2 : 1, c);
      out += '\'';
    } else if (arrow::is_base_binary_like(id) || id == arrow::Type::FIXED_SIZE_BINARY) {
      out += "0x" + ToHex(static_cast<const arrow::BaseBinaryScalar&>(*value).view());
    } else {
      out += value->ToString();
    }
  }
  return values->size() == 1 ? out : "(" + out + ")";
}

}  // namespace sheaf::columns
