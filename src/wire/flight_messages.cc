#include "wire/flight_messages.h"

#include <bit>

#include "wire/protobuf_reader.h"
#include "wire/protobuf_writer.h"

namespace sheaf::wire {
namespace {

constexpr uint32_t kBodyField = 1000;

Status Malformed(const char* message) {
  return MakeError(ErrorKind::kInvalid, "the {} is no well-formed protobuf message", message);
}

/// A map's entry: key 1, value 2.
std::pair<std::string_view, std::string_view> ReadEntry(std::string_view entry, bool* ok) {
  std::pair<std::string_view, std::string_view> read;
  ProtobufReader reader(entry);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, WireType::kBytes): read.first = reader.Bytes(); break;
      case Tag(2, WireType::kBytes): read.second = reader.Bytes(); break;
      default: reader.Skip();
    }
  }
  *ok &= reader.ok();
  return read;
}

std::string OptionText(std::string_view value, bool* ok) {
  std::string text;
  ProtobufReader reader(value);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, WireType::kBytes): text = reader.Bytes(); break;
      case Tag(2, WireType::kVarint): text = reader.Varint() != 0 ? "true" : "false"; break;
      case Tag(3, WireType::kFixed64): text = std::to_string(std::bit_cast<int64_t>(reader.Fixed64())); break;
      case Tag(4, WireType::kFixed64): text = fmt::format("{}", reader.Double()); break;
      default: reader.Skip();
    }
  }
  *ok &= reader.ok();
  return text;
}

}  // namespace

Result<FlightDescriptor> ReadFlightDescriptor(std::string_view message) {
  FlightDescriptor descriptor;
  ProtobufReader reader(message);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, WireType::kVarint): {
        const uint64_t kind = reader.Varint();
        descriptor.kind = kind <= 2 ? static_cast<FlightDescriptor::Kind>(kind) : FlightDescriptor::Kind::kUnknown;
        break;
      }
      case Tag(2, WireType::kBytes): descriptor.command = reader.Bytes(); break;
      case Tag(3, WireType::kBytes):
        if (descriptor.path.size() == kFlightPathNamesMax) {
          return MakeError(ErrorKind::kInvalid, "the path has more than {} names", kFlightPathNamesMax);
        }
        descriptor.path.emplace_back(reader.Bytes());
        break;
      default: reader.Skip();
    }
  }
  if (!reader.ok()) return Malformed("FlightDescriptor");
  return descriptor;
}

Result<FlightData> ReadFlightData(std::string_view message) {
  FlightData data;
  ProtobufReader reader(message);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, WireType::kBytes): data.descriptor = reader.Bytes(); break;
      case Tag(2, WireType::kBytes): data.header = reader.Bytes(); break;
      case Tag(3, WireType::kBytes): data.metadata = reader.Bytes(); break;
      case Tag(kBodyField, WireType::kBytes): data.body = reader.Bytes(); break;
      default: reader.Skip();
    }
  }
  if (!reader.ok()) return Malformed("FlightData");
  return data;
}

Result<FlightAction> ReadFlightAction(std::string_view message) {
  FlightAction action;
  ProtobufReader reader(message);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, WireType::kBytes): action.type = reader.Bytes(); break;
      case Tag(2, WireType::kBytes): action.body = reader.Bytes(); break;
      default: reader.Skip();
    }
  }
  if (!reader.ok()) return Malformed("Action");
  return action;
}

Result<std::string> ReadFirstBytes(std::string_view message) {
  std::string bytes;
  ProtobufReader reader(message);
  while (reader.Next()) {
    if (reader.tag() == Tag(1, WireType::kBytes)) {
      bytes = reader.Bytes();
    } else {
      reader.Skip();
    }
  }
  if (!reader.ok()) return Malformed("message");
  return bytes;
}

Result<std::vector<std::string>> ReadFlightTickets(std::string_view message) {
  std::vector<std::string> tickets;
  ProtobufReader reader(message);
  while (reader.Next()) {
    if (reader.tag() != Tag(3, WireType::kBytes)) {
      reader.Skip();
      continue;
    }
    if (tickets.size() == kFlightEndpointsMax)
      return MakeError(ErrorKind::kInvalid, "more than {} endpoints", kFlightEndpointsMax);
    SHEAF_ASSIGN_OR_RETURN(const std::string ticket, ReadFirstBytes(reader.Bytes()));
    SHEAF_ASSIGN_OR_RETURN(std::string bytes, ReadFirstBytes(ticket));
    tickets.push_back(std::move(bytes));
  }
  if (!reader.ok()) return Malformed("FlightInfo");
  return tickets;
}

std::string EncodeFlightInfo(const FlightInfo& info) {
  std::string out;
  ProtobufWriter writer(&out);
  writer.Bytes(1, info.schema);
  writer.Bytes(2, info.descriptor);
  for (const std::string& ticket : info.tickets) {
    const size_t endpoint = writer.Open(3);
    writer.Bytes(1, EncodeFirstBytes(ticket));
    writer.Close(endpoint);
  }
  writer.Varint(4, static_cast<uint64_t>(info.rows));
  writer.Varint(5, static_cast<uint64_t>(info.bytes));
  if (info.ordered) writer.Varint(6, 1);
  return out;
}

std::string EncodeFlightPath(std::span<const std::string> names) {
  std::string out;
  ProtobufWriter writer(&out);
  writer.Varint(1, static_cast<uint64_t>(FlightDescriptor::Kind::kPath));
  for (const std::string& name : names) writer.Bytes(3, name);
  return out;
}

std::string EncodeFirstBytes(std::string_view bytes) {
  std::string out;
  ProtobufWriter(&out).Bytes(1, bytes);
  return out;
}

std::string EncodeFirstNumber(int64_t number) {
  std::string out;
  ProtobufWriter(&out).Varint(1, static_cast<uint64_t>(number));
  return out;
}

std::string EncodeActionType(std::string_view type, std::string_view description) {
  std::string out;
  ProtobufWriter writer(&out);
  writer.Bytes(1, type);
  writer.Bytes(2, description);
  return out;
}

void BeginFlightData(std::string_view header, std::string_view metadata, size_t body_bytes, std::string* out) {
  ProtobufWriter writer(out);
  if (!header.empty()) writer.Bytes(2, header);
  if (!metadata.empty()) writer.Bytes(3, metadata);
  if (body_bytes == 0) return;
  writer.RawVarint(Tag(kBodyField, WireType::kBytes));
  writer.RawVarint(body_bytes);
}

Result<SessionOptions> ReadSessionOptions(std::string_view message) {
  SessionOptions options;
  bool ok = true;
  ProtobufReader reader(message);
  while (reader.Next()) {
    if (reader.tag() != Tag(1, WireType::kBytes)) {
      reader.Skip();
      continue;
    }
    const auto [name, value] = ReadEntry(reader.Bytes(), &ok);
    if (options.size() == kSessionOptionsMax || name.size() > kSessionOptionBytesMax || value.size() > kSessionOptionBytesMax) {
      return MakeError(ErrorKind::kTooLarge, "a SetSessionOptionsRequest has at most {} options, with names and values of {} bytes",
                       kSessionOptionsMax, kSessionOptionBytesMax);
    }
    options.emplace_back(name, OptionText(value, &ok));
  }
  if (!ok || !reader.ok()) return Malformed("SetSessionOptionsRequest");
  return options;
}

std::string EncodeSessionOptions(const SessionOptions& options) {
  std::string out;
  ProtobufWriter writer(&out);
  for (const auto& [name, value] : options) {
    const size_t entry = writer.Open(1);
    writer.Bytes(1, name);
    writer.Bytes(2, EncodeFirstBytes(value));
    writer.Close(entry);
  }
  return out;
}

std::string EncodeSessionErrors(std::span<const std::pair<std::string, SessionOptionError>> errors) {
  std::string out;
  ProtobufWriter writer(&out);
  for (const auto& [name, error] : errors) {
    const size_t entry = writer.Open(1);
    writer.Bytes(1, name);
    writer.Bytes(2, EncodeFirstNumber(static_cast<int64_t>(error)));
    writer.Close(entry);
  }
  return out;
}

}  // namespace sheaf::wire
