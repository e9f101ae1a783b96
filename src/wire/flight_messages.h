/// Messages of Arrow Flight, read in place and written: what travels inside its gRPC calls. Field numbers are those of Arrow's
/// format/Flight.proto.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/status.h"

namespace sheaf::wire {

/// What a stream or a question is about: a path of names, or a command of the server's own language.
struct FlightDescriptor {
  enum class Kind : uint8_t { kUnknown = 0, kPath = 1, kCommand = 2 };
  Kind kind = Kind::kUnknown;
  std::string command;
  std::vector<std::string> path;
};

/// One message of a stream of batches. Borrows the bytes that it was read from.
struct FlightData {
  std::string_view descriptor;  // A FlightDescriptor; of the first message of a DoPut only.
  std::string_view header;      // Message.fbs, without a length before it. May be empty.
  std::string_view metadata;    // The application's.
  std::string_view body;        // Buffers of a batch.
};

struct FlightAction {
  std::string type, body;
};

/// Where to get the rows of a question, and what they will be.
struct FlightInfo {
  std::string schema;                // As SchemaBytes.
  std::string_view descriptor;       // As it came.
  std::vector<std::string> tickets;  // An endpoint each, all of them on the server that is asked.
  int64_t rows = -1, bytes = -1;     // Negative: not known.
  bool ordered = false;              // The endpoints follow one another.
};

inline constexpr size_t kFlightPathNamesMax = 16;
inline constexpr size_t kFlightEndpointsMax = 1024;

/// Errors of all of these: Invalid (malformed, or more than the limits above).
Result<FlightDescriptor> ReadFlightDescriptor(std::string_view message);
Result<FlightData> ReadFlightData(std::string_view message);
Result<FlightAction> ReadFlightAction(std::string_view message);
/// Of a Ticket: its bytes. The same reads a Criteria's expression, and whatever message has bytes as its field 1.
Result<std::string> ReadFirstBytes(std::string_view message);
/// Of a FlightInfo that comes back: its endpoints' tickets.
Result<std::vector<std::string>> ReadFlightTickets(std::string_view message);

std::string EncodeFlightInfo(const FlightInfo& info);
/// A FlightDescriptor of a path.
std::string EncodeFlightPath(std::span<const std::string> names);
/// A message whose field 1 is `bytes`: SchemaResult, PutResult, Result.
std::string EncodeFirstBytes(std::string_view bytes);
/// A message whose field 1 is a number: results of actions that say how it went.
std::string EncodeFirstNumber(int64_t number);
std::string EncodeActionType(std::string_view type, std::string_view description);
/// Begins a FlightData in `out`: everything but the bytes of its body, of which `body_bytes` must follow.
void BeginFlightData(std::string_view header, std::string_view metadata, size_t body_bytes, std::string* out);

inline constexpr size_t kSessionOptionsMax = 256, kSessionOptionBytesMax = 1024;  // The latter of a name, and of a value.
/// A value of a session's option: Flight has booleans, numbers and lists besides; here all are texts.
using SessionOptions = std::vector<std::pair<std::string, std::string>>;
/// Of a SetSessionOptionsRequest: names and values; numbers and booleans as their text, an empty value where the option is unset.
/// Errors: Invalid, TooLarge.
Result<SessionOptions> ReadSessionOptions(std::string_view message);
std::string EncodeSessionOptions(const SessionOptions& options);
enum class SessionOptionError : uint8_t { kInvalidName = 1, kInvalidValue = 2 };
/// A SetSessionOptionsResult that names the options that were not set.
std::string EncodeSessionErrors(std::span<const std::pair<std::string, SessionOptionError>> errors);

}  // namespace sheaf::wire
