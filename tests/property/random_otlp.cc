#include "property/random_otlp.h"

#include <cstdlib>
#include <cstring>
#include <limits>
#include <vector>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/unknown_field_set.h>

namespace sheaf::property {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using google::protobuf::UnknownFieldSet;

constexpr int kDepthMax = 32;  // Of AnyValue, as decode::Limits has it.

uint64_t EdgeBits(Random* random) {
  static constexpr uint64_t kEdges[] = {0, 1, 2, 127, 128, 255, 16383, 16384, 0x7fffffff, 0x80000000, 0xffffffff, 1ull << 32,
                                        1ull << 53, (1ull << 56) - 1, 1ull << 56, 0x7fffffffffffffff, 1ull << 63, ~0ull};
  return random->OneIn(2) ? kEdges[random->Below(std::size(kEdges))] : random->Bits() >> random->Below(64);
}

double EdgeDouble(Random* random) {
  using Limits = std::numeric_limits<double>;
  static const double kEdges[] = {0.0, -0.0, 1.0, -1.5, 0.1, 1e300, Limits::max(), Limits::denorm_min(), Limits::infinity(),
                                  -Limits::infinity(), Limits::quiet_NaN()};
  if (random->OneIn(2)) return kEdges[random->Below(std::size(kEdges))];
  return static_cast<double>(random->Bits()) / 1e9;
}

std::string RandomText(const Shape& shape, Random* random) {
  static constexpr std::string_view kTexts[] = {
      "", "a", "http.method", "GET", "service.name", "status", "caf\xc3\xa9", "\xe6\x97\xa5\xe6\x9c\xac", "\xf0\x9f\x92\xa9",
      "quote\" back\\slash", "line\nbreak\t\x01", "exactly-16-bytes", "a.key.of.thirty-two.characters!!"};
  if (shape.bad_text && random->OneIn(6)) return std::string(kBadText) + (random->OneIn(2) ? "tail" : "");
  if (random->OneIn(40)) return std::string(random->Below(5000), 'x');  // Lengths of two bytes and more.
  if (random->OneIn(4)) return "value-" + std::to_string(random->Below(1000));
  if (random->OneIn(10)) return std::string(120 + random->Below(12), 'y');  // Around the one-byte length.
  return std::string(kTexts[random->Below(std::size(kTexts))]);
}

std::string RandomBytes(size_t size, Random* random) {
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random->Bits());
  return bytes;
}

std::string RandomId(size_t size, const Shape& shape, Random* random) {
  if (shape.odd_ids && random->OneIn(6)) return std::string(size, '\0');
  if (shape.odd_ids && random->OneIn(6)) return RandomBytes(random->Below(40), random);
  return RandomBytes(size, random);
}

void AddUnknown(Random* random, UnknownFieldSet* set, int depth) {
  for (uint64_t n = 1 + random->Below(2); n > 0; --n) {
    const int number = static_cast<int>(random->OneIn(3) ? 5000 + random->Below(1u << 20) : 100 + random->Below(50));
    switch (random->Below(depth < 3 ? 5 : 4)) {
      case 0:
        set->AddVarint(number, EdgeBits(random));
        break;
      case 1:
        set->AddFixed64(number, random->Bits());
        break;
      case 2:
        set->AddFixed32(number, static_cast<uint32_t>(random->Bits()));
        break;
      case 3:
        set->AddLengthDelimited(number, RandomBytes(random->Below(30), random));
        break;
      default:
        AddUnknown(random, set->AddGroup(number), depth + 1);
    }
  }
}

class Filler {
 public:
  Filler(const Shape& shape, Random* random) : shape_(shape), random_(random) {}

  void Fill(Message* message, int value_depth) {
    const Descriptor* type = message->GetDescriptor();
    if (type->name() == "AnyValue") return FillAnyValue(message, value_depth);
    for (int i = 0; i < type->field_count(); ++i) {
      const FieldDescriptor* field = type->field(i);
      if (field->real_containing_oneof() != nullptr) continue;
      if (field->is_repeated()) {
        for (uint64_t n = Count(field, value_depth); n > 0; --n) AddValue(message, field, value_depth);
      } else if (MustSet(field) || !random_->OneIn(3)) {
        SetValue(message, field, value_depth);
      }
    }
    for (int i = 0; i < type->real_oneof_decl_count(); ++i) {
      const auto* oneof = type->oneof_decl(i);
      const uint64_t choice = random_->Below(static_cast<uint64_t>(oneof->field_count()) + (random_->OneIn(10) ? 1 : 0));
      if (choice < static_cast<uint64_t>(oneof->field_count())) SetValue(message, oneof->field(static_cast<int>(choice)), value_depth);
    }
    const bool is_request = type->name().ends_with("ServiceRequest");
    if (shape_.unknown_fields && !is_request && random_->OneIn(8)) {
      AddUnknown(random_, message->GetReflection()->MutableUnknownFields(message), 0);
    }
  }

 private:
  static bool MustSet(const FieldDescriptor* field) {
    const std::string& owner = field->containing_type()->name();
    return (owner == "Span" || owner == "Link") && (field->name() == "trace_id" || field->name() == "span_id");
  }

  uint64_t Count(const FieldDescriptor* field, int value_depth) {
    const std::string& name = field->name();
    if (name == "attributes" || name == "bucket_counts" || name == "explicit_bounds") {
      return random_->OneIn(50) ? 40 + random_->Below(100) : random_->Below(6);
    }
    return random_->Below(value_depth > 2 ? 2 : 4);
  }

  void FillAnyValue(Message* message, int depth) {
    const Descriptor* type = message->GetDescriptor();
    const int levels_max = shape_.deep_values ? kDepthMax : 4;
    if (shape_.unknown_fields && random_->OneIn(12)) AddUnknown(random_, message->GetReflection()->MutableUnknownFields(message), 0);
    uint64_t number = random_->OneIn(15) ? 0 : 1 + random_->Below(7);
    if (shape_.deep_values && depth < levels_max && random_->OneIn(2)) number = 5 + random_->Below(2);
    if (depth + 2 > levels_max && (number == 5 || number == 6)) number = 1;
    if (shape_.unknown_fields && random_->OneIn(30)) number = 8;  // The index into a table that telemetry has not.
    if (number == 0) return;
    SetValue(message, type->FindFieldByNumber(static_cast<int>(number)), depth);
  }

  /// AnyValue messages below here stand one deeper, wherever ArrayValue or KeyValueList intervene.
  static int DepthBelow(const FieldDescriptor* field, int depth) {
    return field->containing_type()->name() == "AnyValue" ? depth + 1 : depth;
  }

  int EnumNumber(const FieldDescriptor* field) {
    if (shape_.unknown_enums && random_->OneIn(4)) return random_->OneIn(2) ? -1 - static_cast<int>(random_->Below(100)) : 100;
    return field->enum_type()->value(static_cast<int>(random_->Below(static_cast<uint64_t>(field->enum_type()->value_count()))))->number();
  }

  std::string BytesOf(const FieldDescriptor* field) {
    if (field->name() == "trace_id") return RandomId(16, shape_, random_);
    if (field->name() == "parent_span_id" && random_->OneIn(3)) return "";
    if (field->name().ends_with("span_id")) return RandomId(8, shape_, random_);
    return RandomBytes(random_->Below(20), random_);
  }

  void SetValue(Message* m, const FieldDescriptor* f, int depth) {
    const Reflection* r = m->GetReflection();
    const uint64_t bits = EdgeBits(random_);
    switch (f->cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        return r->SetInt32(m, f, static_cast<int32_t>(bits));
      case FieldDescriptor::CPPTYPE_INT64:
        return r->SetInt64(m, f, static_cast<int64_t>(bits));
      case FieldDescriptor::CPPTYPE_UINT32:
        return r->SetUInt32(m, f, static_cast<uint32_t>(bits));
      case FieldDescriptor::CPPTYPE_UINT64:
        return r->SetUInt64(m, f, bits);
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return r->SetDouble(m, f, EdgeDouble(random_));
      case FieldDescriptor::CPPTYPE_BOOL:
        return r->SetBool(m, f, random_->OneIn(2));
      case FieldDescriptor::CPPTYPE_ENUM:
        return r->SetEnumValue(m, f, EnumNumber(f));
      case FieldDescriptor::CPPTYPE_STRING:
        return r->SetString(m, f, f->type() == FieldDescriptor::TYPE_BYTES ? BytesOf(f) : RandomText(shape_, random_));
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return Fill(r->MutableMessage(m, f), DepthBelow(f, depth));
      default:
        std::abort();  // OTLP has no other types.
    }
  }

  void AddValue(Message* m, const FieldDescriptor* f, int depth) {
    const Reflection* r = m->GetReflection();
    switch (f->cpp_type()) {
      case FieldDescriptor::CPPTYPE_UINT64:
        return r->AddUInt64(m, f, EdgeBits(random_));
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return r->AddDouble(m, f, EdgeDouble(random_));
      case FieldDescriptor::CPPTYPE_STRING:
        return r->AddString(m, f, RandomText(shape_, random_));
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return Fill(r->AddMessage(m, f), DepthBelow(f, depth));
      default:
        std::abort();
    }
  }

  const Shape shape_;
  Random* const random_;
};

/// Writes a message's fields as pieces that keep their order only within a field.
class OddWriter {
 public:
  explicit OddWriter(Random* random) : random_(random) {}

  std::vector<std::string> Pieces(const Message& m) {
    std::vector<std::vector<std::string>> sequences;
    const Descriptor* type = m.GetDescriptor();
    for (int i = 0; i < type->field_count(); ++i) {
      std::vector<std::string> sequence = FieldPieces(m, type->field(i));
      if (!sequence.empty()) sequences.push_back(std::move(sequence));
    }
    const UnknownFieldSet& unknown = m.GetReflection()->GetUnknownFields(m);
    std::string unknown_bytes;
    unknown.SerializeToString(&unknown_bytes);
    if (!unknown_bytes.empty()) sequences.push_back({unknown_bytes});
    return Interleave(std::move(sequences));
  }

 private:
  std::string Varint(uint64_t value) {
    std::string out;
    for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
    out.push_back(static_cast<char>(value));
    if (random_->OneIn(10) && out.size() < 8) {  // Overlong: more bytes than needed.
      out.back() = static_cast<char>(out.back() | 0x80);
      out.push_back('\0');
    }
    return out;
  }
  std::string Tag(const FieldDescriptor* f, int wire_type) {
    return Varint(static_cast<uint64_t>(f->number()) << 3 | static_cast<uint64_t>(wire_type));
  }
  template <typename T>
  static std::string Fixed(T value) {
    return {reinterpret_cast<const char*>(&value), sizeof(value)};
  }
  std::string Delimited(const FieldDescriptor* f, const std::string& bytes) { return Tag(f, 2) + Varint(bytes.size()) + bytes; }

  static std::string Join(const std::vector<std::string>& pieces, size_t from, size_t to) {
    std::string out;
    for (size_t i = from; i < to; ++i) out += pieces[i];
    return out;
  }

  std::vector<std::string> Interleave(std::vector<std::vector<std::string>> sequences) {
    std::vector<std::string> out;
    std::vector<size_t> next(sequences.size(), 0);
    const bool shuffle = !random_->OneIn(3);
    while (!sequences.empty()) {
      const size_t i = shuffle ? random_->Below(sequences.size()) : 0;
      out.push_back(std::move(sequences[i][next[i]]));
      if (++next[i] == sequences[i].size()) {
        sequences.erase(sequences.begin() + static_cast<ptrdiff_t>(i));
        next.erase(next.begin() + static_cast<ptrdiff_t>(i));
      }
    }
    return out;
  }

  std::string Number(const FieldDescriptor* f, uint64_t bits) {
    switch (f->type()) {
      case FieldDescriptor::TYPE_FIXED64:
      case FieldDescriptor::TYPE_SFIXED64:
      case FieldDescriptor::TYPE_DOUBLE:
        return Fixed(bits);
      case FieldDescriptor::TYPE_FIXED32:
        return Fixed(static_cast<uint32_t>(bits));
      default:
        return Varint(bits);
    }
  }
  static int WireTypeOf(const FieldDescriptor* f) {
    switch (f->type()) {
      case FieldDescriptor::TYPE_FIXED64:
      case FieldDescriptor::TYPE_SFIXED64:
      case FieldDescriptor::TYPE_DOUBLE:
        return 1;
      case FieldDescriptor::TYPE_FIXED32:
        return 5;
      default:
        return 0;
    }
  }

  static uint64_t BitsOf(const Message& m, const FieldDescriptor* f, int index) {
    const Reflection* r = m.GetReflection();
    const auto of = [&](auto single, auto repeated) { return f->is_repeated() ? (r->*repeated)(m, f, index) : (r->*single)(m, f); };
    switch (f->type()) {
      case FieldDescriptor::TYPE_SINT32: {
        const auto v = static_cast<uint32_t>(of(&Reflection::GetInt32, &Reflection::GetRepeatedInt32));
        return (v << 1) ^ (0 - (v >> 31));
      }
      case FieldDescriptor::TYPE_INT32:
        return static_cast<uint64_t>(int64_t{of(&Reflection::GetInt32, &Reflection::GetRepeatedInt32)});
      case FieldDescriptor::TYPE_INT64:
      case FieldDescriptor::TYPE_SFIXED64:
        return static_cast<uint64_t>(of(&Reflection::GetInt64, &Reflection::GetRepeatedInt64));
      case FieldDescriptor::TYPE_UINT32:
      case FieldDescriptor::TYPE_FIXED32:
        return of(&Reflection::GetUInt32, &Reflection::GetRepeatedUInt32);
      case FieldDescriptor::TYPE_UINT64:
      case FieldDescriptor::TYPE_FIXED64:
        return of(&Reflection::GetUInt64, &Reflection::GetRepeatedUInt64);
      case FieldDescriptor::TYPE_DOUBLE: {
        const double v = of(&Reflection::GetDouble, &Reflection::GetRepeatedDouble);
        uint64_t bits;
        std::memcpy(&bits, &v, sizeof(bits));
        return bits;
      }
      case FieldDescriptor::TYPE_BOOL:
        return of(&Reflection::GetBool, &Reflection::GetRepeatedBool);
      case FieldDescriptor::TYPE_ENUM:
        return static_cast<uint64_t>(int64_t{of(&Reflection::GetEnumValue, &Reflection::GetRepeatedEnumValue)});
      default:
        std::abort();
    }
  }

  std::vector<std::string> FieldPieces(const Message& m, const FieldDescriptor* f) {
    const Reflection* r = m.GetReflection();
    std::vector<std::string> out;
    if (f->is_repeated()) {
      const int n = r->FieldSize(m, f);
      if (f->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        for (int i = 0; i < n; ++i) {
          const auto pieces = Pieces(r->GetRepeatedMessage(m, f, i));
          out.push_back(Delimited(f, Join(pieces, 0, pieces.size())));
        }
      } else if (f->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
        for (int i = 0; i < n; ++i) out.push_back(Delimited(f, r->GetRepeatedString(m, f, i)));
      } else {
        for (int i = 0; i < n;) {  // Runs of packed numbers, and single ones between.
          const int run = 1 + static_cast<int>(random_->Below(static_cast<uint64_t>(n - i)));
          std::string packed;
          for (int end = i + run; i < end; ++i) packed += Number(f, BitsOf(m, f, i));
          out.push_back(run == 1 && random_->OneIn(2) ? Tag(f, WireTypeOf(f)) + packed : Delimited(f, packed));
        }
      }
      return out;
    }
    const bool is_set = f->has_presence() ? r->HasField(m, f) : true;
    if (!is_set) return out;
    if (f->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      const auto pieces = Pieces(r->GetMessage(m, f));
      const size_t cut = random_->OneIn(12) ? random_->Below(pieces.size() + 1) : pieces.size();
      if (cut < pieces.size()) out.push_back(Delimited(f, Join(pieces, cut, pieces.size())));
      out.insert(out.begin(), Delimited(f, Join(pieces, 0, cut)));
      return out;
    }
    if (!f->has_presence() && !r->HasField(m, f) && !random_->OneIn(4)) return out;  // A default, now and then written out.
    const bool twice = random_->OneIn(12);
    if (f->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
      if (twice) out.push_back(Delimited(f, "an earlier value"));
      out.push_back(Delimited(f, r->GetString(m, f)));
    } else {
      if (twice) out.push_back(Tag(f, WireTypeOf(f)) + Number(f, 1));
      out.push_back(Tag(f, WireTypeOf(f)) + Number(f, BitsOf(m, f, 0)));
    }
    return out;
  }

  Random* const random_;
};

}  // namespace

Shape RandomShape(Random* random) {
  return {random->OneIn(3), random->OneIn(3), random->OneIn(3), random->OneIn(4), random->OneIn(20)};
}

void FillRandomly(const Shape& shape, Random* random, Message* message) { Filler(shape, random).Fill(message, 0); }

std::string SerializeOddly(const Message& message, Random* random) {
  std::string out;
  for (const std::string& piece : OddWriter(random).Pieces(message)) out += piece;
  return out;
}

std::string Replaced(std::string bytes, std::string_view from, std::string_view to) {
  for (size_t at = bytes.find(from); at != std::string::npos; at = bytes.find(from, at + to.size())) bytes.replace(at, from.size(), to);
  return bytes;
}

}  // namespace sheaf::property
